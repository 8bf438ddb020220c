//! A folder of PNGs: a sub-folder a class.
//!
//! Classes are numbered by the order of their names, and pictures follow each
//! other in that order too. Numbers in names count as numbers, so that `10`
//! follows `9`. The same files give the same data set on every computer.

use std::cmp::Ordering;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

use super::picture::Square;
use super::{Dataset, Split};

/// Most classes: each is a byte in a data set.
const MAX_CLASSES: usize = 256;
/// Without folders for training and testing, every so many pictures of a class
/// the last is kept for testing.
const KEPT: usize = 10;
/// Most classes that a notice names.
const NAMED: usize = 12;

/// PNGs by class, found but not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
    names: Vec<String>,
    /// Of each class.
    train: Vec<Vec<PathBuf>>,
    /// Of each class.
    test: Vec<Vec<PathBuf>>,
    /// Whether the two are folders of their own.
    halves: bool,
    /// What is neither a class nor a PNG.
    left_out: Vec<PathBuf>,
}

impl Folder {
    /// The PNGs in a folder that has a sub-folder for each class, or that has
    /// the folders `train` and `test` with such sub-folders.
    ///
    /// # Errors
    /// Where there are no sub-folders, more than 256, one for training without
    /// a PNG, or one for testing alone.
    pub fn open(path: &Path) -> Result<Self> {
        let (mut folders, mut left_out) = list(path)?;
        let [idx, _] = Split::Train.file_names();
        ensure!(
            !folders.is_empty(),
            "{} holds neither {idx}, which IDX data sets like MNIST have, nor a sub-folder of PNGs for each class",
            path.display()
        );
        let half = |name: &str| folders.iter().position(|folder| named(folder) == name);
        let halves = half("train").zip(half("test"));
        let (names, train, test) = match halves {
            Some((train, test)) => {
                let halves = [train, test].map(|index| folders[index].clone());
                folders.retain(|folder| !halves.contains(folder));
                left_out.append(&mut folders);
                let [train, test] = halves;
                let (names, train) = classes(&train, &mut left_out)?;
                let test = matched(&test, &names, &mut left_out)?;
                (names, train, test)
            }
            None => {
                left_out.clear();
                let (names, all) = classes(path, &mut left_out)?;
                let (train, test) = all.into_iter().map(tenth_kept).unzip();
                (names, train, test)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            names,
            train,
            test,
            halves: halves.is_some(),
            left_out,
        })
    }

    /// The names of the classes, in the order of their numbers.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Reads one half, resized to `size` pixels a side, and gives what a user
    /// should know of it. There must be `classes` classes, or any number of
    /// them where that is 0.
    ///
    /// # Errors
    /// Where the number of classes differs, a picture cannot be read or there
    /// is none.
    pub fn read(&self, split: Split, size: usize, classes: u16) -> Result<(Dataset, String)> {
        let found = self.names.len();
        ensure!(
            classes == 0 || usize::from(classes) == found,
            "{} has {}, but the network is for {classes}: put `classes = {found}` into [network] of the configuration, or name other data",
            self.path.display(),
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
        // Who looks at the first test pictures shall see all classes.
        if split == Split::Test {
            order.sort_by_key(|&(index, class, _)| (index, class));
        }
        let paths: Vec<&PathBuf> = order.iter().map(|&(_, _, path)| path).collect();
        ensure!(
            !paths.is_empty(),
            "{} has no pictures for testing: no class has {KEPT}, of which one would be kept. Add some, or sort them into the folders train/ and test/ yourself",
            self.path.display()
        );
        let side = u32::try_from(size)?;
        let squares: Vec<Result<Square>> = paths
            .par_iter()
            .map(|path| Square::read(path, side))
            .collect();
        // In their order, so that it is always the same error.
        let squares: Vec<Square> = squares.into_iter().collect::<Result<_>>()?;
        let data = Dataset {
            size,
            labels: order.iter().map(|&(_, class, _)| class).collect(),
            pixels: squares.iter().flat_map(|s| &s.pixels).copied().collect(),
        };
        Ok((data, self.notice(split, pictures, &paths, &squares, side)))
    }

    /// What was found, and what was done to it.
    fn notice(
        &self,
        split: Split,
        pictures: &[Vec<PathBuf>],
        paths: &[&PathBuf],
        squares: &[Square],
        size: u32,
    ) -> String {
        let purpose = match split {
            Split::Train => "training",
            Split::Test => "testing",
        };
        let mut text = format!(
            "{}: {} for {purpose} of {}: ",
            self.path.display(),
            counted(squares.len(), "PNG", "PNGs"),
            counted(self.names.len(), "class", "classes")
        );
        let numbered = self.names.iter().zip(pictures).enumerate();
        for (class, (name, pictures)) in numbered.take(NAMED) {
            let comma = if class > 0 { ", " } else { "" };
            let _ = write!(text, "{comma}{class} {name} ({})", pictures.len());
        }
        if let more @ 1.. = self.names.len().saturating_sub(NAMED) {
            let _ = write!(text, " and {more} more");
        }
        text.push('\n');
        if !self.halves {
            let _ = writeln!(
                text,
                "  of every {KEPT} pictures of a class one is kept for testing; folders train/ and test/ would say otherwise"
            );
        }
        let resized = squares.iter().filter(|s| s.sides != (size, size));
        let area = |s: &&Square| u64::from(s.sides.0) * u64::from(s.sides.1);
        let least = resized.clone().min_by_key(area);
        if let Some((least, most)) = least.zip(resized.clone().max_by_key(area)) {
            let sides = |(width, height)| format!("{width} x {height}");
            let from = match least.sides == most.sides {
                true => sides(least.sides),
                false => format!("{} to {}", sides(least.sides), sides(most.sides)),
            };
            let count = resized.count();
            let _ = writeln!(text, "  {count} resized to {size} x {size}, from {from}");
        }
        let mut told = |what: &str, is: fn(&Square) -> bool| {
            if let count @ 1.. = squares.iter().filter(|s| is(s)).count() {
                let _ = writeln!(text, "  {count} {what}");
            }
        };
        told("not square: the middle of each is taken", |s| {
            s.sides.0 != s.sides.1
        });
        told("in colour: turned grey", |s| s.coloured);
        told("transparent in parts: laid on white", |s| s.transparent);
        if let Some(blank) = squares.iter().position(Square::is_blank) {
            let count = squares.iter().filter(|s| s.is_blank()).count();
            let _ = writeln!(
                text,
                "  {count} of a single grey, which show nothing: the first is {}",
                paths[blank].display()
            );
        }
        if let Some(first) = self.left_out.first() {
            let _ = writeln!(
                text,
                "  {} left out, neither a class nor a PNG: the first is {}",
                self.left_out.len(),
                first.display()
            );
        }
        text
    }
}

/// The names of the classes in a folder, and the PNGs of each.
fn classes(path: &Path, left_out: &mut Vec<PathBuf>) -> Result<(Vec<String>, Vec<Vec<PathBuf>>)> {
    let (folders, files) = list(path)?;
    left_out.extend(files);
    ensure!(
        !folders.is_empty(),
        "{} has no sub-folders: put the PNGs of each class into one of its own",
        path.display()
    );
    ensure!(
        folders.len() <= MAX_CLASSES,
        "{} has {} sub-folders, but a network can have at most {MAX_CLASSES} classes",
        path.display(),
        folders.len()
    );
    let mut pictures = Vec::new();
    for folder in &folders {
        let found = pngs(folder, left_out)?;
        ensure!(
            !found.is_empty(),
            "{} has no PNG in it: a sub-folder is a class, so put pictures there or remove it",
            folder.display()
        );
        pictures.push(found);
    }
    Ok((
        folders.iter().map(|folder| named(folder)).collect(),
        pictures,
    ))
}

/// The PNGs of known classes, where a folder has them.
fn matched(
    path: &Path,
    names: &[String],
    left_out: &mut Vec<PathBuf>,
) -> Result<Vec<Vec<PathBuf>>> {
    let (folders, files) = list(path)?;
    left_out.extend(files);
    let mut pictures = vec![Vec::new(); names.len()];
    for folder in folders {
        let class = names.iter().position(|name| *name == named(&folder));
        let class = class.with_context(|| {
            format!(
                "{} is for testing a class that there is nothing to train on: add such a folder to train/, or remove this one",
                folder.display()
            )
        })?;
        pictures[class] = pngs(&folder, left_out)?;
    }
    Ok(pictures)
}

/// The PNGs in a folder.
fn pngs(path: &Path, left_out: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>> {
    let (folders, files) = list(path)?;
    let is_png = |file: &PathBuf| {
        let extension = file.extension();
        extension.is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
    };
    let (found, others): (Vec<_>, Vec<_>) = files.into_iter().partition(is_png);
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

/// The folders and the files in a folder, each in the order of their names.
/// What is hidden by a dot is not seen.
fn list(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let entries = || -> std::io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(path)?;
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    let mut entries =
        entries().with_context(|| format!("cannot read the folder {}", path.display()))?;
    entries.retain(|path| !named(path).starts_with('.'));
    entries.sort_by(|a, b| in_order(&named(a), &named(b)).then_with(|| a.cmp(b)));
    Ok(entries.into_iter().partition(|path| path.is_dir()))
}

/// A file's name, as far as it is Unicode.
fn named(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Compares names, and numbers within them by their value.
fn in_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let numbers = (split_number(left), split_number(right));
        if let (Some((one, rest)), Some((other, others))) = numbers {
            // Of two numbers without leading zeros the longer is the larger.
            let (x, y) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order.is_ne() {
                return order;
            }
            (left, right) = (rest, others);
            continue;
        }
        let (mut one, mut other) = (left.chars(), right.chars());
        match (one.next(), other.next()) {
            // As numbers alike: `01` and `1`.
            (None, None) => return a.cmp(b),
            (one, other) if one != other => return one.cmp(&other),
            _ => (left, right) = (one.as_str(), other.as_str()),
        }
    }
}

/// The number that a text begins with, and what follows it.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let end = end.unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::encode_png;
    use std::fs;
    use tempfile::TempDir;

    /// A folder with these files; a PNG is of 4 x 4 pixels of the grey that
    /// `grey` gives for its place in the list.
    fn folder_of(files: &[String], grey: impl Fn(usize) -> u8) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (index, file) in files.iter().enumerate() {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut pixels = [grey(index); 16];
            pixels[0] ^= 1;
            fs::write(path, encode_png(4, 4, &pixels).unwrap()).unwrap();
        }
        folder
    }

    fn files(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[track_caller]
    fn refused(folder: &Path, words: &[&str]) {
        let read = Folder::open(folder).and_then(|found| found.read(Split::Train, 4, 0));
        let error = format!("{:#}", read.unwrap_err());
        for word in words {
            assert!(error.contains(word), "should say {word:?}: {error}");
        }
    }

    #[test]
    fn names_in_an_order_that_people_expect() {
        let sorted = [
            "", "0", "1", "01", "2", "9", "10", "010", "100", "a", "a1", "a2b9", "a2b10", "a10",
            "b", "é", "ü9", "ü10",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                // Numbers of equal value go by their text.
                if split_number(a).is_none() || a.trim_matches('0') != b.trim_matches('0') {
                    assert_eq!(in_order(a, b), i.cmp(&j), "{a:?} and {b:?}");
                }
                assert_eq!(in_order(a, b), in_order(b, a).reverse());
            }
        }
        let long = "9".repeat(100);
        assert_eq!(in_order(&long, &format!("1{long}")), Ordering::Less);
    }

    #[test]
    fn three_classes_and_what_is_kept_for_testing() {
        let mut names: Vec<String> = Vec::new();
        for (class, count) in [("cat", 20), ("dog", 9), ("10", 11)] {
            names.extend((1..=count).map(|picture| format!("{class}/{picture}.PNG")));
        }
        let folder = folder_of(&names, |index| 2 * index as u8);
        fs::write(folder.path().join("cat/notes.txt"), "").unwrap();
        fs::write(folder.path().join("dog/.hidden.png"), "").unwrap();
        let found = Folder::open(folder.path()).unwrap();
        assert_eq!(found.names(), ["10", "cat", "dog"]);
        let (train, notice) = found.read(Split::Train, 4, 3).unwrap();
        let labels = [[0; 10].as_slice(), &[1; 18], &[2; 9]].concat();
        assert_eq!(train.labels, labels);
        // Pictures in order: 1 to 9, 11 to 19 of the cats.
        let greys: Vec<u8> = (10..28).map(|i| train.picture(i)[5] / 2).collect();
        let expected: Vec<u8> = (0..9).chain(10..19).collect();
        assert_eq!(greys, expected);
        for words in [
            "37 PNGs for training of 3 classes: 0 10 (10), 1 cat (18), 2 dog (9)",
            "of every 10 pictures of a class one is kept",
            "1 left out",
            "notes.txt",
        ] {
            assert!(notice.contains(words), "{words}: {notice}");
        }
        for words in [
            "resized",
            "square",
            "colour",
            "white",
            "hidden",
            "single grey",
        ] {
            assert!(!notice.contains(words), "{words}: {notice}");
        }
        let (test, notice) = found.read(Split::Test, 4, 0).unwrap();
        assert_eq!(test.labels, [0, 1, 1]);
        assert!(notice.contains("3 PNGs for testing"), "{notice}");
        assert_eq!(test.picture(2)[5], 2 * 19);
        // The network's number of classes must be that of the folder.
        let error = found.read(Split::Train, 4, 10).unwrap_err().to_string();
        assert!(
            error.contains("3 classes") && error.contains("`classes = 3`"),
            "{error}"
        );
    }

    #[test]
    fn test_pictures_have_the_classes_in_turn() {
        let numbered = |class: &str| (1..=30).map(|i| format!("{class}/{i}.png")).collect();
        let names: [Vec<String>; 2] = ["a", "b"].map(numbered);
        let folder = folder_of(&names.concat(), |index| index as u8);
        let found = Folder::open(folder.path()).unwrap();
        let (test, _) = found.read(Split::Test, 4, 2).unwrap();
        assert_eq!(test.labels, [0, 1, 0, 1, 0, 1]);
        let greys: Vec<u8> = (0..6).map(|i| test.picture(i)[5]).collect();
        assert_eq!(greys, [9, 39, 19, 49, 29, 59]);
    }

    #[test]
    fn halves_of_ones_own() {
        let names = files(&[
            "train/a/1.png",
            "train/b/1.png",
            "test/b/1.png",
            "test/b/2.png",
            "val/a/1.png",
        ]);
        let folder = folder_of(&names, |index| index as u8 * 10);
        let found = Folder::open(folder.path()).unwrap();
        assert_eq!(found.names(), ["a", "b"]);
        let (train, notice) = found.read(Split::Train, 4, 2).unwrap();
        assert_eq!((train.labels, train.pixels[5]), (vec![0, 1], 0));
        assert!(notice.contains("val"), "{notice}");
        assert!(!notice.contains("kept"), "{notice}");
        let (test, _) = found.read(Split::Test, 4, 2).unwrap();
        assert_eq!((test.labels, test.pixels[5]), (vec![1, 1], 20));

        let unknown = folder.path().join("test/c");
        fs::create_dir(&unknown).unwrap();
        refused(folder.path(), &["test", "nothing to train on"]);
    }

    #[test]
    fn as_many_classes_as_a_byte_counts() {
        let names: Vec<String> = (0..256).map(|class| format!("{class}/x.png")).collect();
        let folder = folder_of(&names, |index| index as u8);
        let found = Folder::open(folder.path()).unwrap();
        let (train, notice) = found.read(Split::Train, 4, 256).unwrap();
        assert!(train.labels.iter().copied().eq(0..=255));
        assert!((0..256).all(|class| train.picture(class)[5] == class as u8));
        assert!(notice.contains("and 244 more"), "{notice}");
        // With a picture each, none is left for testing.
        let error = found.read(Split::Test, 4, 256).unwrap_err().to_string();
        assert!(error.contains("no pictures for testing"), "{error}");

        fs::create_dir(folder.path().join("256")).unwrap();
        refused(folder.path(), &["257 sub-folders", "at most 256"]);
    }

    #[test]
    fn what_was_done_is_said() {
        let folder = folder_of(&files(&["a/1.png", "b/1.png"]), |_| 9);
        let path = folder.path();
        fs::write(path.join("a/2.png"), encode_png(8, 6, &[3; 48]).unwrap()).unwrap();
        fs::write(
            path.join("a/3.png"),
            encode_png(2, 2, &[3, 4, 5, 6]).unwrap(),
        )
        .unwrap();
        let rgba = image::RgbaImage::from_fn(4, 4, |x, _| image::Rgba([x as u8, 0, 0, 0]));
        rgba.save(path.join("b/2.png")).unwrap();
        let (data, notice) = Folder::open(path)
            .unwrap()
            .read(Split::Train, 4, 2)
            .unwrap();
        assert_eq!(data.labels, [0, 0, 0, 1, 1]);
        for words in [
            "  2 resized to 4 x 4, from 2 x 2 to 8 x 6\n",
            "  1 not square: the middle of each is taken\n",
            "  1 in colour: turned grey\n",
            "  1 transparent in parts: laid on white\n",
            "  2 of a single grey, which show nothing: the first is ",
        ] {
            assert!(notice.contains(words), "{words}: {notice}");
        }
    }

    #[test]
    fn folders_that_hold_no_data() {
        let folder = tempfile::tempdir().unwrap();
        refused(
            folder.path(),
            &["holds neither", "IDX", "sub-folder of PNGs"],
        );
        fs::write(folder.path().join("1.png"), "").unwrap();
        refused(folder.path(), &["holds neither"]);
        fs::create_dir(folder.path().join("empty")).unwrap();
        refused(folder.path(), &["empty has no PNG in it"]);
        fs::write(folder.path().join("empty/photo.png"), "no PNG").unwrap();
        refused(folder.path(), &["photo.png", "is no PNG"]);
    }
}
