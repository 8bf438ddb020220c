//! Folders that are read, and messages about many files at once.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::names::{Name, shown};

/// What a data folder may hold, for messages.
pub const EXPECTED: &str = "a data folder holds either IDX files under their usual names (train-images-idx3-ubyte, raw or .gz, and so on; those of EMNIST and QMNIST too); or a sub-folder of pictures for each class; or train/ (training/) and test/ (testing/, val/, valid/, validation/) with such sub-folders; or pictures alone, for a network without classes";

/// Most files that a message names.
const NAMED: usize = 10;
/// Where macOS keeps what other systems have no place for, in archives.
const OF_MACOS: &str = "__MACOSX";

/// The folders and the files in a folder, each in the order of their names.
/// What is hidden by a dot is not seen.
pub fn list(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let entries = || -> std::io::Result<Vec<(Name, PathBuf)>> {
        let entries = std::fs::read_dir(path)?;
        let paths = entries.map(|entry| Ok(entry?.path()));
        paths
            .map(|path| path.map(|path| (Name::of(&path), path)))
            .collect()
    };
    let mut entries =
        entries().with_context(|| format!("cannot read the folder {}", shown(path)))?;
    entries.retain(|(name, _)| {
        let name = name.shown();
        !name.starts_with('.') && name != OF_MACOS
    });
    entries.sort_by(|(a, path), (b, other)| a.order(b).then_with(|| path.cmp(other)));
    let paths = entries.into_iter().map(|(_, path)| path);
    Ok(paths.partition(|path| path.is_dir()))
}

/// The values, or one error that lists all errors, a line each.
///
/// # Errors
/// Where there is any.
pub fn all_or_errors<T>(results: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error) => errors.push(format!("{error:#}")),
        }
    }
    match errors.len() {
        0 => Ok(values),
        1 => bail!("{}", errors[0]),
        count => bail!(
            "{count} of {} files cannot be used:\n  {}",
            count + values.len(),
            listed(&errors, "\n  ")
        ),
    }
}

/// The first items, and how many more there are.
pub fn listed(items: &[String], between: &str) -> String {
    let mut text = items[..items.len().min(NAMED)].join(between);
    if let more @ 1.. = items.len().saturating_sub(NAMED) {
        text += &format!("{between}and {more} more");
    }
    text
}
