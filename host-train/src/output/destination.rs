//! Whether results can be written, asked before there are any.

use std::path::{Path, is_separator};

use anyhow::{Context, Result, ensure};

use super::staged::{PUBLIC, beside, folder_of};

/// Checks that a file can be written at `path`, over what is there. Leaves
/// nothing behind.
///
/// # Errors
/// Where `path` is a folder or a device, its folder does not exist, or no file
/// can be made in it.
pub fn check_file(path: &Path) -> Result<()> {
    let name = path.display();
    ensure!(
        !path.as_os_str().is_empty(),
        "the file to write has no name"
    );
    let bytes = path.as_os_str().as_encoded_bytes();
    let names_folder = bytes.last().is_some_and(|&last| is_separator(last.into()));
    ensure!(
        !path.is_dir() && !names_folder && path.file_name().is_some(),
        "cannot write {name}: it is a folder; name a file in it"
    );
    ensure!(
        !path.exists() || path.is_file(),
        "cannot write {name}: it is no regular file; name another"
    );
    let folder = folder_of(path);
    ensure!(
        folder.is_dir(),
        "cannot write {name}: there is no folder {}; make it first",
        folder.display()
    );
    try_in(folder).with_context(|| format!("cannot write {name}"))
}

/// Checks that files can be written into the folder `path`, which need not
/// exist yet. Leaves nothing behind.
///
/// # Errors
/// Where there is something else than a folder on the way, or nothing can be
/// made in the last folder that exists.
pub fn check_folder(path: &Path) -> Result<()> {
    let name = path.display();
    let mut way = path.ancestors().map(|part| match part.as_os_str() {
        empty if empty.is_empty() => Path::new("."),
        _ => part,
    });
    let Some(found) = way.find(|part| part.symlink_metadata().is_ok()) else {
        return Ok(());
    };
    ensure!(
        found.is_dir(),
        "cannot write to the folder {name}: {} is no folder",
        found.display()
    );
    try_in(found).with_context(|| format!("cannot write to the folder {name}"))
}

/// Makes a file without a name, and lets go of it.
fn try_in(folder: &Path) -> Result<()> {
    beside(&folder.join("x"), PUBLIC, b"")
        .map(drop)
        .with_context(|| format!("no file can be made in {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[track_caller]
    fn refused(result: Result<()>, words: &[&str]) {
        let error = format!("{:#}", result.unwrap_err());
        for word in words {
            assert!(error.contains(word), "should say {word:?}: {error}");
        }
        assert!(!error.contains(super::super::UNFINISHED), "{error}");
    }

    #[test]
    fn nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("old"), "old").unwrap();
        check_file(&path.join("new")).unwrap();
        check_file(&path.join("old")).unwrap();
        check_folder(path).unwrap();
        check_folder(&path.join("a/b/c")).unwrap();
        assert_eq!(fs::read(path.join("old")).unwrap(), b"old");
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::write(path.join("file"), "").unwrap();
        for name in [".", "..", "/"] {
            refused(check_file(Path::new(name)), &[name, "is a folder"]);
        }
        refused(check_file(Path::new("")), &["no name"]);
        refused(check_file(&path.join("new/")), &["new/", "is a folder"]);
        refused(check_file(&path.join("no/new")), &["no/new", "no folder"]);
        refused(
            check_file(&path.join("file/new")),
            &["file/new", "no folder"],
        );
        let below = path.join("file/new");
        refused(check_folder(&below), &["file/new", "file is no folder"]);
        refused(check_folder(&path.join("file")), &["is no folder"]);
        #[cfg(target_os = "linux")]
        {
            refused(check_file(Path::new("/dev/null")), &["no regular file"]);
            let words = ["/proc/x", "in /proc", "(os error"];
            refused(check_file(Path::new("/proc/x")), &words);
            refused(
                check_folder(Path::new("/proc/x/y")),
                &["/proc/x/y", "in /proc"],
            );
        }
    }
}
