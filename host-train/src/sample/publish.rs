//! The files of a run of the command, all of them or none.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::film::Film;
use super::walk;
use crate::output::Staged;

/// The animations' names.
const ANIMATIONS: [&str; 2] = [Film::GIF, walk::GIF];

/// Writes all files at once, and the animation where there is one.
pub(super) fn publish(
    folder: &Path,
    mut files: Vec<(&str, Vec<u8>)>,
    animation: Option<(&'static str, Vec<u8>)>,
) -> Result<Vec<PathBuf>> {
    let kept = animation.as_ref().map(|(name, _)| *name);
    files.extend(animation);
    let mut staged = Staged::default();
    let mut paths = Vec::new();
    for (name, bytes) in files {
        let path = folder.join(name);
        staged.add(&path, &bytes)?;
        paths.push(path);
    }
    staged.publish()?;
    // One from before would show something else than the other files.
    for name in ANIMATIONS.into_iter().filter(|name| Some(*name) != kept) {
        let _ = std::fs::remove_file(folder.join(name));
    }
    Ok(paths)
}
