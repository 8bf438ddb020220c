//! What a data folder holds: IDX files or pictures, wherever in it they lie.

use std::path::Path;

use anyhow::{Result, ensure};

use super::files::EXPECTED;
use super::idx_set::{self, IdxSet};
use super::known::{KNOWN, Known};
use super::names::{Name, shown};
use super::{Dataset, Folder, Split};
use crate::file_type::FileType;
use crate::shape::Shape;

/// Pictures in a folder, found but not read yet.
#[derive(Clone, Debug)]
pub enum Layout {
    /// In IDX files.
    Idx(IdxSet),
    /// One file each.
    Folder(Folder),
}

impl Layout {
    /// Finds the pictures in a folder. Where it holds several data sets in IDX
    /// files, the path is that of the folder and then the name of one of them:
    /// `EMNIST/raw/emnist-letters`.
    ///
    /// # Errors
    /// Where there is no such folder, it holds none or several data sets, or as
    /// [`Folder::open`].
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists()
            && let Some((folder, known)) = one_of_several(path)
            && let Some(set) = idx_set::find(folder, Some(known))?
        {
            return Ok(Self::Idx(set));
        }
        ensure!(
            path.exists(),
            "there is no data folder {}; name one with --data: {EXPECTED}",
            shown(path)
        );
        ensure!(
            path.is_dir(),
            "{} is {}, not a folder: {EXPECTED}",
            shown(path),
            FileType::of_file(path)?
        );
        match idx_set::find(path, None)? {
            Some(set) => Ok(Self::Idx(set)),
            None => Folder::open(path).map(Self::Folder),
        }
    }

    /// How many classes the pictures have; 0 for pictures without classes,
    /// `None` where that cannot be told, such as of labels with gaps.
    #[must_use]
    pub fn classes(&self) -> Option<u16> {
        match self {
            Self::Idx(set) => set.classes(),
            Self::Folder(folder) => Some(folder.names().len() as u16),
        }
    }

    /// The names of the classes in the order of their numbers; none where they
    /// have no names.
    #[must_use]
    pub fn class_names(&self) -> Vec<String> {
        match self {
            Self::Idx(set) => set.class_names(),
            Self::Folder(folder) => folder.names().to_vec(),
        }
    }

    /// Reads one half, at `size` pixels a side, and gives what a user should
    /// know of it: lines, or nothing. A network has `classes` classes, or, where
    /// that is 0, takes any number.
    ///
    /// # Errors
    /// Where a file is missing or is not what it should be, or there are other
    /// classes than the network has.
    pub fn read(&self, split: Split, size: usize, classes: u16) -> Result<(Dataset, String)> {
        match self {
            Self::Idx(set) => set.read(split, size, classes),
            Self::Folder(folder) => folder.read(split, size, classes),
        }
    }
}

/// A folder, and the data set that the last part of a path names.
fn one_of_several(path: &Path) -> Option<(&Path, &'static Known)> {
    let name = Name::of(path).lower();
    let known = KNOWN.iter().find(|known| known.name == name)?;
    let folder = match path.parent()? {
        folder if folder.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    folder.is_dir().then_some((folder, known))
}

impl Dataset {
    /// Reads the pictures in a folder ([`Layout`]) and checks them against the
    /// network that shall learn them. What was done to them is told on standard
    /// error.
    ///
    /// # Errors
    /// Where a file is missing or is not what it should be.
    pub fn load(folder: &Path, split: Split, network: &Shape) -> Result<Self> {
        Self::load_sized(folder, split, network.image_size(), network.classes())
    }

    /// The same for pictures of `size` pixels a side, with classes below
    /// `classes`, or any where that is 0.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_sized(folder: &Path, split: Split, size: usize, classes: u16) -> Result<Self> {
        let (data, notice) = Layout::open(folder)?.read(split, size, classes)?;
        eprint!("{notice}");
        Ok(data)
    }
}

#[cfg(test)]
mod tests;
