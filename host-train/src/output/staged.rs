//! Files that appear together and whole.

use std::fs::File;
use std::io::{self, Write};
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
        let file = beside(&path, PUBLIC, bytes);
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
            // Only what the system said: the rest names the temporary file.
            file.persist(&path)
                .map_err(|error| error.error)
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

/// Permissions of a file that anybody may read.
pub(crate) const PUBLIC: u32 = 0o666;

pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a file beside the place `path`, on one file system with it, so that
/// moving it there is one step. `mode` is what the umask takes from.
///
/// # Errors
/// Those of the system: they do not name the temporary file, which says nothing
/// to a user.
pub(crate) fn beside(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(mode);
    }
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = builder
        .prefix(UNFINISHED)
        .make_in(folder_of(path), |path| options.open(path))?;
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
        let error = format!("{error:#}");
        assert!(error.starts_with("cannot write no/such/folder/a.npy: "));
        assert!(!error.contains(UNFINISHED), "{error}");

        // A folder has come where the file was to go.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut staged = Staged::default();
        staged.add(&path, b"").unwrap();
        fs::create_dir(&path).unwrap();
        let error = staged.publish().unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with(&format!("cannot write {}: ", path.display())));
        assert_eq!(error.matches("os error").count(), 1, "{error}");
        assert!(!error.contains(UNFINISHED), "{error}");
    }
}
