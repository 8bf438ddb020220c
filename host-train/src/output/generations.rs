//! Folders that replace one another, whole or not at all: `checkpoint-00000020`,
//! then `checkpoint-00000040`.
//!
//! A generation is written under another name. Its files are synced, then the
//! folder that has their names; then it gets its own name in one step, which is
//! synced too; and only then are those before it removed. So the newest folder
//! that has such a name is whole, whenever a process was killed or the power was
//! cut. The tests below cut it after every operation, with every choice of what
//! the disk then has of what was not synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::UNFINISHED;

/// What is asked of a disk, so that tests can have one that fails.
pub trait Disk {
    /// Makes a folder.
    ///
    /// # Errors
    /// Where there is one, or it cannot be made.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Writes a file that is not there yet.
    ///
    /// # Errors
    /// Where it is, or cannot be written; a part of it may then be.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Waits until the disk has a file's bytes.
    ///
    /// # Errors
    /// Where it will not.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Waits until the disk has the names in a folder.
    ///
    /// # Errors
    /// Where it will not.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Gives a folder another name in the same folder, in one step.
    ///
    /// # Errors
    /// Where that cannot be done.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a folder with its files.
    ///
    /// # Errors
    /// Where something is left.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// The names in a folder.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn names(&self, path: &Path) -> io::Result<Vec<String>>;
}

/// The computer's.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        File::create_new(path)?.write_all(bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        // Windows flushes only what is open for writing.
        File::options().write(true).open(path)?.sync_all()
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // Elsewhere a folder cannot be opened.
        match cfg!(unix) {
            true => File::open(path)?.sync_all(),
            false => Ok(()),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(path)?;
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }
}

/// The generations in a folder.
#[derive(Clone, Debug)]
pub struct Generations<'a, D = RealDisk> {
    disk: D,
    parent: &'a Path,
    prefix: &'static str,
}

impl<'a> Generations<'a> {
    /// Those whose names are this prefix and a number.
    #[must_use]
    pub fn new(parent: &'a Path, prefix: &'static str) -> Self {
        Self::on(RealDisk, parent, prefix)
    }
}

impl<'a, D: Disk> Generations<'a, D> {
    /// The same on some disk.
    #[must_use]
    pub fn on(disk: D, parent: &'a Path, prefix: &'static str) -> Self {
        Self {
            disk,
            parent,
            prefix,
        }
    }

    fn name(&self, number: u32) -> String {
        format!("{}{number:08}", self.prefix)
    }

    /// Where generation `number` is, if there is one.
    #[must_use]
    pub fn path(&self, number: u32) -> PathBuf {
        self.parent.join(self.name(number))
    }

    /// Every one that has its name. The newest is whole; of those before it a
    /// part may be gone.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn all(&self) -> io::Result<Vec<u32>> {
        let number = |name: String| name.strip_prefix(self.prefix)?.parse().ok();
        let names = self.disk.names(self.parent)?;
        Ok(names.into_iter().filter_map(number).collect())
    }

    /// The newest.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn newest(&self) -> io::Result<Option<u32>> {
        Ok(self.all()?.into_iter().max())
    }

    /// Starts to write generation `number`; what another process left of it
    /// must be gone.
    ///
    /// # Errors
    /// Where its folder cannot be made.
    pub fn begin(&self, number: u32) -> io::Result<Draft<'_, 'a, D>> {
        let unfinished = format!("{UNFINISHED}{}", self.name(number));
        let draft = Draft {
            unfinished: self.parent.join(unfinished),
            generations: self,
            number,
            published: false,
        };
        self.disk.create_folder(&draft.unfinished)?;
        Ok(draft)
    }

    /// Removes those before generation `number`.
    ///
    /// # Errors
    /// Where one cannot be removed.
    pub fn remove_before(&self, number: u32) -> io::Result<()> {
        let older = self.all()?.into_iter().filter(|&found| found < number);
        for found in older {
            self.disk.remove_folder(&self.path(found))?;
        }
        Ok(())
    }
}

/// A generation in the making; dropped unpublished, it is gone.
#[derive(Debug)]
pub struct Draft<'g, 'a, D: Disk> {
    generations: &'g Generations<'a, D>,
    unfinished: PathBuf,
    number: u32,
    published: bool,
}

impl<D: Disk> Draft<'_, '_, D> {
    /// Writes a file of it.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub fn add(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.unfinished.join(name);
        self.generations.disk.write(&path, bytes)?;
        self.generations.disk.sync_file(&path)
    }

    /// Gives it its name. What was newest before is still there.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub fn publish(mut self) -> io::Result<()> {
        let Generations { disk, parent, .. } = self.generations;
        disk.sync_folder(&self.unfinished)?;
        disk.rename(&self.unfinished, &self.generations.path(self.number))?;
        self.published = true;
        disk.sync_folder(parent)
    }
}

impl<D: Disk> Drop for Draft<'_, '_, D> {
    fn drop(&mut self) {
        if !self.published {
            // What could not be written may not be removable, either.
            let _ = self.generations.disk.remove_folder(&self.unfinished);
        }
    }
}

#[cfg(test)]
mod tests;
