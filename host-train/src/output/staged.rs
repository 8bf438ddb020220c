//! Files that appear together and whole.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use super::UNFINISHED;
use super::generations::{Disk, RealDisk};

/// Files written beside their places, which [`Staged::publish`] then moves
/// there. Dropped unpublished, they are gone, and what stood there before
/// still does.
#[derive(Debug, Default)]
pub struct Staged {
    files: Vec<(PathBuf, NamedTempFile)>,
}

impl Staged {
    /// Writes what is to become the file `path`; its folder must exist.
    ///
    /// # Errors
    /// Where it cannot be written, as on a full disk.
    pub fn add(&mut self, path: impl Into<PathBuf>, bytes: &[u8]) -> Result<()> {
        let path = path.into();
        let file = write_beside(&path, bytes);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        self.files.push((path, file));
        Ok(())
    }

    /// Moves every file to its place, over what stands there, and waits until
    /// the disk has it.
    ///
    /// # Errors
    /// Where a file cannot be moved: its place may be a folder.
    pub fn publish(self) -> Result<()> {
        let mut folders: Vec<PathBuf> = Vec::new();
        for (path, file) in self.files {
            file.persist(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
            let folder = folder_of(&path);
            if !folders.iter().any(|known| known == folder) {
                folders.push(folder.to_owned());
            }
        }
        for folder in folders {
            RealDisk
                .sync_folder(&folder)
                .with_context(|| format!("cannot write to {}", folder.display()))?;
        }
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// On one file system with its place, so that moving it is one step.
fn write_beside(path: &Path, bytes: &[u8]) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private; these are to be like any other.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder_of(path))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appear_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&a, "old").unwrap();

        let mut staged = Staged::default();
        staged.add(&a, b"new").unwrap();
        staged.add(&b, b"new").unwrap();
        drop(staged);
        assert_eq!(fs::read(&a).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);

        let mut staged = Staged::default();
        staged.add(&a, b"new").unwrap();
        staged.add(&b, b"new").unwrap();
        staged.publish().unwrap();
        assert_eq!(fs::read(&a).unwrap(), b"new");
        assert_eq!(fs::read(&b).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn errors_name_the_file() {
        let mut staged = Staged::default();
        let error = staged.add("no/such/folder/a.npy", b"").unwrap_err();
        assert!(format!("{error:#}").contains("no/such/folder/a.npy"));
    }
}
