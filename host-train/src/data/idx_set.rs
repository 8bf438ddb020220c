//! A data set in four IDX files, found by their names.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::files::{self, all_or_errors, listed};
use super::known::{KNOWN, Known};
use super::names::{Name, shown};
use super::{Dataset, Split};
use crate::idx::{read_images, read_labels};

/// How many folders deep files are looked for: torchvision's are in MNIST/raw,
/// and archives often have a folder around everything and one around each file.
const DEPTH: usize = 3;

/// IDX files that belong together.
#[derive(Clone, Debug)]
pub struct IdxSet {
    /// Where they were looked for.
    path: PathBuf,
    known: &'static Known,
    /// In the order of [`Known::file_names`].
    files: [Option<PathBuf>; 4],
}

/// The data set in a folder or in folders within it; `None` where there is none.
/// Of several kinds it is `wanted`.
///
/// # Errors
/// Where there are several, or a folder cannot be read.
pub fn find(path: &Path, wanted: Option<&'static Known>) -> Result<Option<IdxSet>> {
    let mut level = vec![path.to_owned()];
    for _ in 0..=DEPTH {
        let mut below = Vec::new();
        let mut found: Vec<Found> = Vec::new();
        for folder in level {
            let (folders, files) = files::list(&folder)?;
            below.extend(folders);
            found.extend(files.into_iter().filter_map(Found::of));
        }
        if let Some(wanted) = wanted {
            found.retain(|found| found.known.prefixes == wanted.prefixes);
        }
        if !found.is_empty() {
            return one_set(path, found).map(Some);
        }
        level = below;
    }
    Ok(None)
}

/// A file whose name is that of a known one.
struct Found {
    known: &'static Known,
    /// In [`Known::file_names`].
    place: usize,
    file: PathBuf,
}

impl Found {
    /// Names are compared in lower case, without `.gz`, and a dot counts as a
    /// hyphen: archives on Kaggle have `train-images.idx3-ubyte`.
    fn of(file: PathBuf) -> Option<Self> {
        let name = Name::of(&file).lower();
        if !name.contains("idx") {
            return None;
        }
        let name = name.strip_suffix(".gz").unwrap_or(&name).replace('.', "-");
        KNOWN.iter().find_map(|known| {
            let place = known.file_names().iter().position(|known| *known == name)?;
            let file = file.clone();
            Some(Self { known, place, file })
        })
    }
}

/// The set that files at the same depth are.
fn one_set(path: &Path, mut found: Vec<Found>) -> Result<IdxSet> {
    let known = found[0].known;
    if found.iter().any(|other| other.known.name != known.name) {
        let mut names: Vec<&str> = found.iter().map(|found| found.known.name).collect();
        names.sort_unstable();
        names.dedup();
        bail!(
            "{} holds several data sets: {}. Add the name of one to the path: --data {}",
            shown(path),
            names.join(", "),
            shown(&path.join(names[0]))
        );
    }
    // A raw file goes before a gzipped one beside it.
    let is_gz = |file: &Path| {
        file.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("gz"))
    };
    found.sort_by(|a, b| (is_gz(&a.file), &a.file).cmp(&(is_gz(&b.file), &b.file)));
    let mut files: [Option<PathBuf>; 4] = Default::default();
    for Found { place, file, .. } in found {
        match &files[place] {
            None => files[place] = Some(file),
            Some(first) => ensure!(
                first.parent() == file.parent(),
                "{} holds several data sets, for one is in {} and one in {}: name one of these folders",
                shown(path),
                shown(first.parent().unwrap_or(first)),
                shown(file.parent().unwrap_or(&file))
            ),
        }
    }
    Ok(IdxSet {
        path: path.to_owned(),
        known,
        files,
    })
}

impl IdxSet {
    /// How many classes the training pictures have; `None` where labels have
    /// gaps or cannot be read.
    #[must_use]
    pub fn classes(&self) -> Option<u16> {
        let symbols = self.known.symbols.chars().count();
        if symbols > 0 {
            return u16::try_from(symbols).ok();
        }
        let [_, labels] = self.files(Split::Train).ok()?;
        let labels = read_labels(labels, self.known.first_label, 0).ok()?;
        let classes = labels.iter().max().map(|&label| u16::from(label) + 1)?;
        without_pictures(&labels, classes)
            .is_empty()
            .then_some(classes)
    }

    /// The names of the classes; none where the files do not tell.
    #[must_use]
    pub fn class_names(&self) -> Vec<String> {
        self.known.symbols.chars().map(String::from).collect()
    }

    /// Reads one half, whose pictures must have `size` pixels a side and classes
    /// below `classes`, or any where that is 0; each class must have a picture
    /// for training. Gives what a user should know beside it.
    ///
    /// # Errors
    /// Where a file is missing or is not what it should be.
    pub fn read(&self, split: Split, size: usize, classes: u16) -> Result<(Dataset, String)> {
        let [images, labels] = self.files(split)?;
        let first = self.known.first_label;
        // Both, so that both errors are seen at once.
        let parts = [
            read_images(images, size),
            read_labels(labels, first, classes),
        ];
        let [mut pixels, classes_of] = all_or_errors(parts)?.try_into().unwrap_or_default();
        let count = pixels.len() / (size * size);
        ensure!(
            count == classes_of.len(),
            "{} has {count} pictures but {} has {} labels; they must belong together",
            shown(images),
            shown(labels),
            classes_of.len()
        );
        if split == Split::Train {
            self.check_classes(labels, &classes_of, classes)?;
        }
        let mut notice = String::new();
        if self.known.transposed {
            pixels = transposed(&pixels, size);
            let Known { name, .. } = self.known;
            notice = format!(
                "{}: {name}, whose pictures are stored column by column: turned upright",
                shown(&self.path)
            );
            if first > 0 {
                notice += &format!("; labels from {first} become classes from 0");
            }
            notice.push('\n');
        }
        let data = Dataset {
            size,
            pixels,
            labels: classes_of,
        };
        Ok((data, notice))
    }

    /// The pictures and the labels of a half.
    fn files(&self, split: Split) -> Result<[&Path; 2]> {
        let places = Known::places(split);
        let missing = places.iter().filter(|&&place| self.files[place].is_none());
        let names = self.known.file_names();
        let missing: Vec<&str> = missing.map(|&place| names[place].as_str()).collect();
        match places.map(|place| self.files[place].as_deref()) {
            [Some(images), Some(labels)] => Ok([images, labels]),
            _ => {
                let there = self.files.iter().flatten().next();
                bail!(
                    "{} lacks {} (raw or .gz), which must be there beside {}",
                    shown(&self.path),
                    missing.join(" and "),
                    there.map_or(String::new(), |file| shown(file)),
                )
            }
        }
    }

    /// Refuses classes that training would never show.
    fn check_classes(&self, file: &Path, labels: &[u8], classes: u16) -> Result<()> {
        let missing = without_pictures(labels, classes);
        if missing.is_empty() {
            return Ok(());
        }
        let first = u16::from(self.known.first_label);
        let found: Vec<u16> = (0..classes).filter(|c| !missing.contains(c)).collect();
        let advice = match (found.first(), found.last()) {
            // All that are missing are at the end.
            (Some(0), Some(&last)) if found.len() == usize::from(last) + 1 => format!(
                "put `classes = {}` into [network] of the configuration",
                last + 1
            ),
            (Some(&lowest), Some(&last)) if found.len() == usize::from(last - lowest) + 1 => {
                format!(
                    "the labels are {} to {}: subtract {lowest} from each, and put `classes = {}` into [network] of the configuration{}",
                    lowest + first,
                    last + first,
                    last - lowest + 1,
                    of_emnist(self.known.symbols, lowest, last)
                )
            }
            _ => {
                "number the classes that there are from 0 without gaps, or add pictures".to_owned()
            }
        };
        let names: Vec<String> = missing
            .iter()
            .map(|class| (class + first).to_string())
            .collect();
        let (label, has) = match names.len() {
            1 => ("label", "has"),
            _ => ("labels", "have"),
        };
        bail!(
            "{}: {label} {} {has} no picture, but the network is for {classes} classes; {advice}",
            shown(file),
            listed(&names, ", ")
        )
    }
}

/// What to do about EMNIST's letters under other names.
fn of_emnist(symbols: &str, lowest: u16, last: u16) -> &'static str {
    match (symbols, lowest, last) {
        ("", 1, 26) => {
            "; if they are EMNIST's letters, give the files their names back (emnist-letters-train-images-idx3-ubyte and so on), which say so"
        }
        _ => "",
    }
}

/// The classes that no label is of.
fn without_pictures(labels: &[u8], classes: u16) -> Vec<u16> {
    let mut found = [false; 256];
    for &label in labels {
        found[usize::from(label)] = true;
    }
    (0..classes)
        .filter(|&class| !found[usize::from(class)])
        .collect()
}

/// Pictures that were stored column by column, row by row.
fn transposed(pixels: &[u8], size: usize) -> Vec<u8> {
    let pictures = pixels.chunks_exact(size * size);
    let upright = pictures.flat_map(|picture| {
        (0..size * size).map(move |place| picture[place % size * size + place / size])
    });
    upright.collect()
}
