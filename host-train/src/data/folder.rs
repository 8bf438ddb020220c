//! A folder of pictures: a sub-folder for each class, or pictures alone.
//!
//! Classes are numbered by the order of their names, and pictures follow each
//! other in that order too. Numbers in names count as numbers, so that `10`
//! follows `9`. The same files give the same data set on every computer.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use rayon::prelude::*;

use super::files::{EXPECTED, all_or_errors, list};
use super::names::{Name, in_numbers, shown};
use super::picture::Square;
use super::{Dataset, Split};
use crate::output::counted;

/// Most classes: each is a byte in a data set.
const MAX_CLASSES: usize = 256;
/// Without folders for training and testing, every so many pictures of a class
/// the last is kept for testing.
pub(super) const KEPT: usize = 10;
/// How many folders that hold nothing but one folder are passed through.
const DEPTH: usize = 3;
/// Names of folders with pictures for training, in any case.
const TRAINING: [&str; 2] = ["train", "training"];
/// Names of folders with pictures for testing, the first that is there.
const TESTING: [&str; 5] = ["test", "testing", "val", "valid", "validation"];
/// What the names of pictures end with.
const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "webp"];

/// Pictures by class, found but not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    pub(super) path: PathBuf,
    /// Of the classes; none where the pictures have no classes.
    pub(super) names: Vec<String>,
    /// Of each class, or of all where there are no classes.
    pub(super) train: Vec<Vec<PathBuf>>,
    /// The same.
    pub(super) test: Vec<Vec<PathBuf>>,
    /// Whether the pictures for testing were chosen here.
    pub(super) chosen: bool,
    /// What is neither a class nor a picture.
    pub(super) left_out: Vec<PathBuf>,
}

impl Folder {
    /// The pictures in a folder that has a sub-folder for each class, or that
    /// has folders for training and for testing (`train`, `training`; `test`,
    /// `testing`, `val`, `valid`, `validation`) with such sub-folders. Without
    /// sub-folders, pictures have no classes. Where there is no folder for
    /// testing, a tenth of the pictures is kept for it.
    ///
    /// # Errors
    /// Where there are no pictures, more than 256 classes, one for training
    /// without a picture, one for testing alone, or two with the same name.
    pub fn open(path: &Path) -> Result<Self> {
        let root = unwrapped(path)?;
        let (mut folders, mut left_out) = list(&root)?;
        let (names, train, test) = match halves(&root, &folders)? {
            None => {
                left_out.clear();
                let (names, train) = classes(&root, &mut left_out)?;
                (names, train, None)
            }
            Some(halves) => {
                folders.retain(|folder| {
                    *folder != halves.train && Some(folder) != halves.test.as_ref()
                });
                left_out.append(&mut folders);
                let (names, train) = classes(&halves.train, &mut left_out)?;
                let test = halves
                    .test
                    .map(|test| matched(&test, &names, &mut left_out));
                (names, train, test.transpose()?)
            }
        };
        let chosen = test.is_none();
        let (train, test) = match test {
            Some(test) => (train, test),
            None => train.into_iter().map(tenth_kept).unzip(),
        };
        Ok(Self {
            path: path.to_owned(),
            names: names.iter().map(|name| name.shown().to_owned()).collect(),
            train,
            test,
            chosen,
            left_out,
        })
    }

    /// The names of the classes, in the order of their numbers; none where the
    /// pictures have no classes. They differ, and have no control characters.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Reads one half, resized to `size` pixels a side, and gives what a user
    /// should know of it. There must be `classes` classes, or any number of
    /// them where that is 0.
    ///
    /// # Errors
    /// Where the number of classes differs, pictures cannot be read or there
    /// are none.
    pub fn read(&self, split: Split, size: usize, classes: u16) -> Result<(Dataset, String)> {
        let found = self.names.len();
        ensure!(
            classes == 0 || found > 0,
            "{} has pictures without classes, but the network is for {classes} classes: sort them into a sub-folder for each class, or put `classes = 0` into [network] of the configuration",
            shown(&self.path)
        );
        ensure!(
            classes == 0 || usize::from(classes) == found,
            "{} has {}, but the network is for {classes}: put `classes = {found}` into [network] of the configuration, or name other data",
            shown(&self.path),
            counted(found, "class", "classes"),
        );
        let pictures = match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        };
        let mut order: Vec<(usize, u8, &PathBuf)> = Vec::new();
        for (class, paths) in pictures.iter().enumerate() {
            let numbered = paths.iter().enumerate();
            order.extend(numbered.map(|(index, path)| (index, class as u8, path)));
        }
        // Whoever looks at the first test pictures shall see all classes.
        if split == Split::Test {
            order.sort_by_key(|&(index, class, _)| (index, class));
        }
        let paths: Vec<&PathBuf> = order.iter().map(|&(_, _, path)| path).collect();
        ensure!(
            !paths.is_empty(),
            "{} has no pictures for testing: {}. Add some, or sort them into the folders train/ and test/ yourself",
            shown(&self.path),
            match self.chosen {
                true => format!("no class has {KEPT}, of which one would be kept"),
                false => "its folder for testing is empty".to_owned(),
            }
        );
        let side = u32::try_from(size)?;
        let squares: Vec<Result<Square>> = paths
            .par_iter()
            .map(|path| Square::read(path, side))
            .collect();
        let squares = all_or_errors(squares)?;
        let data = Dataset {
            size,
            labels: order.iter().map(|&(_, class, _)| class).collect(),
            pixels: squares.iter().flat_map(|s| &s.pixels).copied().collect(),
        };
        Ok((data, self.notice(split, &paths, &squares, side)))
    }
}

/// Folders of their own for training and for testing.
struct Halves {
    train: PathBuf,
    test: Option<PathBuf>,
}

/// The folders for training and for testing among these; `None` where they are
/// classes.
fn halves(root: &Path, folders: &[PathBuf]) -> Result<Option<Halves>> {
    let called = |names: &[&str]| -> Vec<PathBuf> {
        let named = folders.iter();
        let named = named.filter(|folder| names.contains(&Name::of(folder).lower().as_str()));
        named.cloned().collect()
    };
    let one = |found: Vec<PathBuf>, purpose: &str| -> Result<Option<PathBuf>> {
        ensure!(
            found.len() < 2,
            "{} has two folders for {purpose}: {} and {}",
            shown(root),
            Name::of(&found[0]).shown(),
            Name::of(&found[1]).shown()
        );
        Ok(found.into_iter().next())
    };
    let testing = TESTING.iter().map(|&name| called(&[name]));
    let testing = testing.into_iter().find(|found| !found.is_empty());
    let test = one(testing.unwrap_or_default(), "testing")?;
    let Some(train) = one(called(&TRAINING), "training")? else {
        // A class may have such a name, but then it has pictures.
        if let Some(test) = test
            && pictures(&test, &mut Vec::new())?.is_empty()
        {
            anyhow::bail!(
                "{} has a folder for testing, {}, but none for training: {EXPECTED}",
                shown(root),
                Name::of(&test).shown()
            );
        }
        return Ok(None);
    };
    // `train` may be a class, beside `car` and `plane`.
    let is_class = test.is_none() && folders.len() > 1 && list(&train)?.0.is_empty();
    Ok((!is_class).then_some(Halves { train, test }))
}

/// The folder itself or, where all it holds is one folder of folders, as
/// archives do, that one.
fn unwrapped(path: &Path) -> Result<PathBuf> {
    let mut root = path.to_owned();
    for _ in 0..DEPTH {
        let (folders, _) = list(&root)?;
        let [only] = folders.as_slice() else { break };
        let name = Name::of(only).lower();
        let is_half = TRAINING.contains(&&*name) || TESTING.contains(&&*name);
        let has_pictures =
            |folder| Ok::<_, anyhow::Error>(!pictures(folder, &mut Vec::new())?.is_empty());
        if is_half || list(only)?.0.is_empty() || has_pictures(&root)? || has_pictures(only)? {
            break;
        }
        root.clone_from(only);
    }
    Ok(root)
}

/// The names of the classes in a folder, and the pictures of each; without
/// sub-folders no names, and all pictures.
fn classes(path: &Path, left_out: &mut Vec<PathBuf>) -> Result<(Vec<Name>, Vec<Vec<PathBuf>>)> {
    let (folders, files) = list(path)?;
    if folders.is_empty() {
        let all = pictures(path, left_out)?;
        ensure!(
            !all.is_empty(),
            "{} holds neither IDX files nor pictures (PNG, JPEG, WebP): {EXPECTED}",
            shown(path)
        );
        return Ok((Vec::new(), vec![all]));
    }
    left_out.extend(files);
    ensure!(
        folders.len() <= MAX_CLASSES,
        "{} has {} sub-folders, but a network can have at most {MAX_CLASSES} classes",
        shown(path),
        folders.len()
    );
    let names = distinct(path, &folders)?;
    let found = folders.iter().map(|folder| {
        let found = pictures(folder, left_out)?;
        ensure!(
            !found.is_empty(),
            "{} has no picture (PNG, JPEG, WebP) in it: a sub-folder is a class, so put pictures there or remove it",
            shown(folder)
        );
        Ok(found)
    });
    let found: Vec<Result<Vec<PathBuf>>> = found.collect();
    ensure!(
        found.iter().any(Result::is_ok),
        "{} has sub-folders, but none with pictures (PNG, JPEG, WebP), like {}: {EXPECTED}",
        shown(path),
        shown(&folders[0])
    );
    Ok((names, all_or_errors(found)?))
}

/// The names of folders, of which no two may be the same.
fn distinct(path: &Path, folders: &[PathBuf]) -> Result<Vec<Name>> {
    let names: Vec<Name> = folders.iter().map(|folder| Name::of(folder)).collect();
    // In the order of names, those that are the same follow each other.
    for (pair, names) in folders.windows(2).zip(names.windows(2)) {
        ensure!(
            names[0] != names[1],
            "{} has two folders of the name {}: {} and {} are the same letters, in composed and decomposed Unicode; put their pictures together or rename one",
            shown(path),
            names[0].shown(),
            in_numbers(&pair[0]),
            in_numbers(&pair[1])
        );
    }
    Ok(names)
}

/// The pictures of known classes, where a folder has them.
fn matched(path: &Path, names: &[Name], left_out: &mut Vec<PathBuf>) -> Result<Vec<Vec<PathBuf>>> {
    if names.is_empty() {
        return Ok(vec![pictures(path, left_out)?]);
    }
    let (folders, files) = list(path)?;
    left_out.extend(files);
    distinct(path, &folders)?;
    let mut of_classes = vec![Vec::new(); names.len()];
    let found = folders.iter().map(|folder| {
        let name = Name::of(folder);
        let Some(class) = names.iter().position(|known| *known == name) else {
            anyhow::bail!(
                "{} is for testing a class that there is nothing to train on: add such a folder for training, or remove this one",
                shown(folder)
            );
        };
        of_classes[class] = pictures(folder, left_out)?;
        Ok(())
    });
    let found: Vec<Result<()>> = found.collect();
    all_or_errors(found)?;
    Ok(of_classes)
}

/// The pictures in a folder.
fn pictures(path: &Path, left_out: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let (folders, files) = list(path)?;
    let is_picture = |file: &PathBuf| {
        let ending = file.extension().unwrap_or_default();
        ENDINGS
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
    };
    let (found, others): (Vec<_>, Vec<_>) = files.into_iter().partition(is_picture);
    left_out.extend(folders.into_iter().chain(others));
    Ok(found)
}

/// For training and for testing.
fn tenth_kept(pictures: Vec<PathBuf>) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (index, picture) in pictures.into_iter().enumerate() {
        match index % KEPT == KEPT - 1 {
            true => test.push(picture),
            false => train.push(picture),
        }
    }
    (train, test)
}

#[cfg(test)]
mod tests;
