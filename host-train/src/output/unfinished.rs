//! What a process leaves behind that is killed while it writes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// What the names of files and folders begin with that are being written.
pub const UNFINISHED: &str = ".unfinished-";

/// Removes from a folder what a killed process was writing there.
///
/// # Errors
/// Where the folder cannot be read or changed.
pub fn remove_unfinished(folder: &Path) -> Result<()> {
    let remove = || -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if !is_unfinished(&entry) {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    };
    remove().with_context(|| format!("cannot clean up {}", folder.display()))
}

/// Makes sure that a folder which is to be written to is empty or not there yet,
/// but for what a killed process was writing. `otherwise` says what to do else.
///
/// # Errors
/// Where there is something in it.
pub fn refuse_taken(folder: &Path, otherwise: &str) -> Result<()> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let taken = entries.flatten().any(|entry| !is_unfinished(&entry));
    ensure!(!taken, "{} is not empty; {otherwise}", folder.display());
    Ok(())
}

fn is_unfinished(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    name.to_str()
        .is_some_and(|name| name.starts_with(UNFINISHED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_unfinished_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join(".unfinished-checkpoint-00000020")).unwrap();
        fs::write(path.join(".unfinished-checkpoint-00000020/a"), "").unwrap();
        fs::write(path.join(".unfinished-x7Gh2"), "").unwrap();
        refuse_taken(path, "").unwrap();
        refuse_taken(&path.join("new"), "").unwrap();
        fs::write(path.join("config.toml"), "").unwrap();
        let error = refuse_taken(path, "go on with it").unwrap_err().to_string();
        assert!(error.ends_with("is not empty; go on with it"), "{error}");
        remove_unfinished(path).unwrap();
        let names = fs::read_dir(path).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["config.toml"]);
        let error = remove_unfinished(&path.join("no")).unwrap_err();
        assert!(format!("{error:#}").contains("cannot clean up"));
    }
}
