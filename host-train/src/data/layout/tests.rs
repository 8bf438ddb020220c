use std::fs;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::{ImageFormat, RgbImage};
use tempfile::TempDir;

use super::*;
use crate::output::encode_png;

/// Side of the test pictures.
const SIDE: usize = 4;

/// Picture number `index`: no two pixels are alike, so that no turning keeps it.
fn picture(index: usize) -> Vec<u8> {
    (0..SIDE * SIDE)
        .map(|place| (place + 16 * index) as u8)
        .collect()
}

/// An IDX file of `count` pictures, stored column by column if `transposed`.
fn images(count: usize, transposed: bool) -> Vec<u8> {
    let header = [0x0803, count as u32, SIDE as u32, SIDE as u32].map(u32::to_be_bytes);
    let mut bytes = header.concat();
    for index in 0..count {
        let picture = picture(index);
        for place in 0..SIDE * SIDE {
            let from = match transposed {
                true => place % SIDE * SIDE + place / SIDE,
                false => place,
            };
            bytes.push(picture[from]);
        }
    }
    bytes
}

/// An IDX file of labels, a byte each.
fn labels(labels: &[u8]) -> Vec<u8> {
    let header = [0x0801, labels.len() as u32].map(u32::to_be_bytes);
    [&header.concat(), labels].concat()
}

/// An IDX file of QMNIST's labels: the class, then seven other numbers.
fn rows(labels: &[u8]) -> Vec<u8> {
    let mut numbers = vec![0x0c02, labels.len() as u32, 8];
    for &label in labels {
        numbers.extend([label.into(), 4, 2154, 59, 35, 229_421, 0, u32::MAX]);
    }
    numbers.into_iter().flat_map(u32::to_be_bytes).collect()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn png(grey: u8) -> Vec<u8> {
    let mut pixels = [grey; SIDE * SIDE];
    pixels[0] ^= 1;
    encode_png(SIDE, SIDE, &pixels).unwrap()
}

/// A folder with these files.
fn folder<N: AsRef<Path>>(files: &[(N, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

/// The same with a PNG for each name, of the grey that is its number.
fn folder_of_pngs(names: &[&str]) -> TempDir {
    let files = names.iter().enumerate();
    let files: Vec<_> = files
        .map(|(grey, &name)| (name, png(10 * grey as u8)))
        .collect();
    folder(&files)
}

/// MNIST's four files with ten pictures for training and two for testing.
fn mnist(name: impl Fn(&str) -> String) -> Vec<(String, Vec<u8>)> {
    let contents = [
        images(10, false),
        labels(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        images(2, false),
        labels(&[7, 2]),
    ];
    let names = Known::named("mnist").unwrap().file_names();
    let names = names.iter().map(|known| name(known));
    names.zip(contents).collect()
}

fn read(path: &Path, split: Split, classes: u16) -> Result<Dataset> {
    Ok(Layout::open(path)?.read(split, SIDE, classes)?.0)
}

#[track_caller]
fn refused(path: &Path, classes: u16, words: &[&str]) {
    let error = format!("{:#}", read(path, Split::Train, classes).unwrap_err());
    for word in words {
        assert!(error.contains(word), "should say {word:?}: {error}");
    }
}

#[test]
fn idx_files_wherever_archives_put_them() {
    type Naming = fn(&str) -> String;
    let namings: [Naming; 7] = [
        |name| name.to_owned(),
        // torchvision
        |name| format!("MNIST/raw/{name}"),
        // Kaggle
        |name| name.replace("-idx", ".idx"),
        |name| format!("archive/{name}/{name}"),
        |name| format!("{0}/{0}", name.replace("-idx", ".idx")),
        // a folder for each half
        |name| match name.starts_with("train") {
            true => format!("train/{name}"),
            false => format!("test/{name}"),
        },
        |name| name.to_uppercase(),
    ];
    for naming in namings {
        for packed in [false, true] {
            let mut files = mnist(naming);
            if packed {
                for (name, bytes) in &mut files {
                    name.push_str(".gz");
                    *bytes = gzipped(bytes);
                }
            }
            let place = files[0].0.clone();
            let folder = folder(&files);
            let train = read(folder.path(), Split::Train, 10);
            let train = train.unwrap_or_else(|error| panic!("{place}: {error:#}"));
            assert!(train.labels.iter().copied().eq(0..10), "{place}");
            assert_eq!(train.picture(3), picture(3));
            assert_eq!(read(folder.path(), Split::Test, 10).unwrap().labels, [7, 2]);
        }
    }
}

#[test]
fn of_several_data_sets_one_is_named() {
    let mut files =
        mnist(|name| format!("emnist/raw/emnist-digits-{}", name.replace("t10k", "test")));
    files.extend(mnist(|name| {
        format!("emnist/raw/emnist-mnist-{}", name.replace("t10k", "test"))
    }));
    let both = folder(&files);
    let raw = both.path().join("emnist/raw");
    refused(
        &raw,
        10,
        &[
            "several data sets",
            "emnist-digits, emnist-mnist",
            "emnist/raw/emnist-digits",
        ],
    );
    let one = read(&raw.join("emnist-digits"), Split::Train, 10).unwrap();
    assert_eq!(one.len(), 10);

    let mut files = mnist(|name| format!("one/{name}"));
    files.extend(mnist(|name| format!("other/{name}")));
    let folder = folder(&files);
    refused(folder.path(), 10, &["several data sets", "/one", "/other"]);
    assert_eq!(
        read(&folder.path().join("one"), Split::Train, 10)
            .unwrap()
            .len(),
        10
    );
}

#[test]
fn emnist_is_turned_upright_and_its_letters_count_from_1() {
    let of: Vec<u8> = (1..=26).collect();
    let letters = |name: &str| format!("emnist-letters-{name}.gz");
    let emnist = folder(&[
        (
            letters("train-images-idx3-ubyte"),
            gzipped(&images(26, true)),
        ),
        (letters("train-labels-idx1-ubyte"), gzipped(&labels(&of))),
        (letters("test-images-idx3-ubyte"), gzipped(&images(2, true))),
        (
            letters("test-labels-idx1-ubyte"),
            gzipped(&labels(&[26, 1])),
        ),
    ]);
    let layout = Layout::open(emnist.path()).unwrap();
    assert_eq!(layout.classes(), Some(26));
    assert_eq!(layout.class_names()[25], "z");
    let (train, notice) = layout.read(Split::Train, SIDE, 26).unwrap();
    assert!(train.labels.iter().copied().eq(0..26));
    assert!((0..26).all(|index| train.picture(index) == picture(index)));
    assert!(
        notice.contains("turned upright") && notice.contains("labels from 1"),
        "{notice}"
    );
    let (test, _) = layout.read(Split::Test, SIDE, 26).unwrap();
    assert_eq!(test.labels, [25, 0]);

    // A label that is not a letter's.
    fs::write(
        emnist.path().join(letters("train-labels-idx1-ubyte")),
        labels(&[&of[..25], &[0]].concat()),
    )
    .unwrap();
    refused(emnist.path(), 26, &["label 0 at index 25", "1 to 26"]);
}

#[test]
fn other_parts_of_emnist_count_from_0() {
    let of: Vec<u8> = (0..47).collect();
    let balanced = folder(&[
        ("emnist-balanced-train-images-idx3-ubyte", images(47, true)),
        ("emnist-balanced-train-labels-idx1-ubyte", labels(&of)),
    ]);
    let layout = Layout::open(balanced.path()).unwrap();
    assert_eq!(layout.classes(), Some(47));
    assert_eq!(layout.class_names()[36..39], ["a", "b", "d"]);
    let (train, notice) = layout.read(Split::Train, SIDE, 47).unwrap();
    assert_eq!(
        (train.labels, train.pixels[..16].to_vec()),
        (of, picture(0))
    );
    assert!(!notice.contains("labels from"), "{notice}");
    // What is not there is named.
    let error = layout.read(Split::Test, SIDE, 47).unwrap_err().to_string();
    assert!(
        error.contains(
            "lacks emnist-balanced-test-images-idx3-ubyte and emnist-balanced-test-labels"
        ),
        "{error}"
    );
}

#[test]
fn qmnist_has_its_classes_in_the_first_column() {
    let qmnist = folder(&[
        (
            "qmnist-train-images-idx3-ubyte.gz",
            gzipped(&images(10, false)),
        ),
        (
            "qmnist-train-labels-idx2-int.gz",
            gzipped(&rows(&[9, 8, 7, 6, 5, 4, 3, 2, 1, 0])),
        ),
        (
            "qmnist-test-images-idx3-ubyte.gz",
            gzipped(&images(1, false)),
        ),
        ("qmnist-test-labels-idx2-int.gz", gzipped(&rows(&[7]))),
    ]);
    let train = read(qmnist.path(), Split::Train, 10).unwrap();
    assert_eq!(train.labels, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    assert_eq!(train.picture(9), picture(9));
    assert_eq!(read(qmnist.path(), Split::Test, 10).unwrap().labels, [7]);

    let path = qmnist.path().join("qmnist-train-labels-idx2-int.gz");
    let table = rows(&[0; 10]);
    fs::write(&path, &table[..table.len() - 1]).unwrap();
    refused(qmnist.path(), 10, &["announces 320 bytes but 319 follow"]);
    let mut wrong = rows(&[0; 10]);
    wrong[12..16].copy_from_slice(&(-1i32).to_be_bytes());
    fs::write(&path, wrong).unwrap();
    refused(qmnist.path(), 0, &["label -1 at index 0", "0 to 255"]);
}

#[test]
fn classes_without_pictures_are_refused_for_training() {
    let with = |of: &[u8]| {
        let files = mnist(str::to_owned);
        let folder = folder(&files);
        fs::write(folder.path().join(&files[0].0), images(of.len(), false)).unwrap();
        fs::write(folder.path().join(&files[1].0), labels(of)).unwrap();
        folder
    };
    let digits = with(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    refused(
        digits.path(),
        27,
        &[
            "labels 10, 11",
            "and 7 more have no picture",
            "27 classes",
            "`classes = 10`",
        ],
    );
    // EMNIST's letters under MNIST's names.
    let letters: Vec<u8> = (1..=26).collect();
    let letters = with(&letters);
    refused(
        letters.path(),
        27,
        &[
            "label 0 has no picture",
            "1 to 26: subtract 1",
            "`classes = 26`",
            "emnist-letters-train",
        ],
    );
    assert_eq!(Layout::open(letters.path()).unwrap().classes(), None);
    let gap = with(&[0, 1, 3]);
    refused(gap.path(), 4, &["label 2 has no picture", "without gaps"]);
    assert_eq!(read(gap.path(), Split::Train, 0).unwrap().labels, [0, 1, 3]);
    // Test pictures may lack classes, and few classes are a number too.
    assert_eq!(read(digits.path(), Split::Test, 10).unwrap().labels, [7, 2]);
    assert_eq!(
        Layout::open(with(&[1, 0]).path()).unwrap().classes(),
        Some(2)
    );
}

#[test]
fn names_do_not_say_what_a_file_is() {
    let files = mnist(str::to_owned);
    let [raw, label_names] = [0, 1].map(|index| files[index].0.clone());
    // Gzipped without .gz, and raw with it.
    let swapped = folder(&files);
    fs::write(swapped.path().join(&raw), gzipped(&files[0].1)).unwrap();
    fs::remove_file(swapped.path().join(&label_names)).unwrap();
    fs::write(
        swapped.path().join(format!("{label_names}.gz")),
        &files[1].1,
    )
    .unwrap();
    assert_eq!(
        read(swapped.path(), Split::Train, 10).unwrap().picture(1),
        picture(1)
    );

    // Both files that are none are named at once.
    let page = b"<!DOCTYPE html>\n<title>Not found</title>".to_vec();
    let pages = folder(&[
        (format!("{raw}.gz"), page),
        (format!("{label_names}.gz"), b"PK\x03\x04".to_vec()),
    ]);
    refused(
        pages.path(),
        10,
        &[
            "2 of 2 files",
            "images-idx3-ubyte.gz is an HTML page, probably a download that failed",
            "labels-idx1-ubyte.gz is a ZIP archive",
        ],
    );
    refused(
        &pages.path().join(format!("{raw}.gz")),
        10,
        &["is an HTML page", "not a folder"],
    );
}

#[test]
fn folders_for_training_and_testing_have_many_names() {
    for (train, test) in [
        ("train", Some("test")),
        ("Train", Some("Val")),
        ("training", Some("testing")),
        ("TRAINING", Some("valid")),
        ("train", Some("validation")),
        ("photos/train", Some("photos/val")),
        ("train", None),
    ] {
        let mut names: Vec<String> = Vec::new();
        names.extend((0..10).map(|i| format!("{train}/cat/{i}.png")));
        names.extend((0..10).map(|i| format!("{train}/dog/{i}.png")));
        names.extend(test.map(|test| format!("{test}/dog/1.png")));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let folder = folder_of_pngs(&names);
        let layout = Layout::open(folder.path()).unwrap();
        assert_eq!(layout.class_names(), ["cat", "dog"], "{train} {test:?}");
        let (data, notice) = layout.read(Split::Train, SIDE, 2).unwrap();
        let kept = if test.is_none() { 1 } else { 0 };
        assert_eq!(data.len(), 20 - 2 * kept, "{train} {test:?}");
        assert_eq!(
            notice.contains("one is kept for testing"),
            kept == 1,
            "{notice}"
        );
        let (data, _) = layout.read(Split::Test, SIDE, 2).unwrap();
        assert_eq!(
            data.labels,
            if test.is_some() { vec![1] } else { vec![0, 1] }
        );
    }
    // A class may be called train.
    let folder = folder_of_pngs(&["car/1.png", "plane/1.png", "train/1.png"]);
    assert_eq!(
        Layout::open(folder.path()).unwrap().class_names(),
        ["car", "plane", "train"]
    );
    let folder = folder_of_pngs(&["train/a/1.png", "training/a/1.png"]);
    refused(
        folder.path(),
        1,
        &["two folders for training: train and training"],
    );
    let folder = folder_of_pngs(&["val/a/1.png", "images/a/1.png"]);
    refused(
        folder.path(),
        1,
        &["folder for testing, val, but none for training", "train/"],
    );
    let folder = folder_of_pngs(&["a/b/1.png", "c/d/1.png"]);
    refused(
        folder.path(),
        1,
        &["none with pictures", "train/ (training/)"],
    );
}

#[test]
fn pictures_without_sub_folders_have_no_classes() {
    let names: Vec<String> = (0..20).map(|i| format!("{i}.png")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let flat = folder_of_pngs(&names);
    let layout = Layout::open(flat.path()).unwrap();
    assert_eq!((layout.classes(), layout.class_names().len()), (Some(0), 0));
    let (train, notice) = layout.read(Split::Train, SIDE, 0).unwrap();
    assert_eq!(train.labels, [0; 18]);
    assert!(
        notice.contains("18 pictures for training, without classes"),
        "{notice}"
    );
    let (test, _) = layout.read(Split::Test, SIDE, 0).unwrap();
    assert_eq!((test.len(), test.picture(0)[5]), (2, 90));
    refused(flat.path(), 10, &["without classes", "`classes = 0`"]);

    let halves = folder_of_pngs(&["train/1.png", "train/2.png", "test/3.png"]);
    assert_eq!(read(halves.path(), Split::Train, 0).unwrap().len(), 2);
    assert_eq!(
        read(halves.path(), Split::Test, 0).unwrap().picture(0)[5],
        20
    );
}

#[test]
fn jpeg_and_webp_whatever_they_are_called() {
    let shade = RgbImage::from_fn(64, 64, |x, _| image::Rgb([x as u8 * 4; 3]));
    let encoded = |format| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        shade.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    let [jpeg, webp] = [ImageFormat::Jpeg, ImageFormat::WebP].map(encoded);
    let data = folder(&[
        ("a/1.JPG", jpeg.clone()),
        ("a/2.jpeg", jpeg.clone()),
        ("a/3.webp", webp.clone()),
        ("a/4.png", jpeg),
        ("a/5.jpg", webp),
    ]);
    let read = read(data.path(), Split::Train, 1).unwrap();
    for index in 0..5 {
        // Mean greys of four pieces of the shade, left to right.
        for (found, expected) in read.picture(index)[..4].iter().zip([30u8, 94, 158, 222]) {
            assert!(
                found.abs_diff(expected) < 12,
                "{index}: {:?}",
                read.picture(index)
            );
        }
    }
}

#[test]
fn every_bad_picture_is_named_at_once() {
    let mut files = vec![
        ("a/1.png".to_owned(), png(1)),
        ("a/2.png".to_owned(), b"<html>404</html>".to_vec()),
        ("a/3.jpg".to_owned(), Vec::new()),
        ("b/4.webp".to_owned(), b"GIF89a".to_vec()),
        ("b/5.png".to_owned(), png(1)[..40].to_vec()),
    ];
    refused(
        folder(&files).path(),
        2,
        &[
            "4 of 5 files",
            "a/2.png: is an HTML page, probably a download that failed",
            "a/3.jpg: is empty",
            "b/4.webp: is a GIF, not a PNG, JPEG or WebP",
            "b/5.png: is a PNG that is damaged or cut short",
        ],
    );
    files.extend((10..50).map(|i| (format!("a/{i}.png"), b"no picture".to_vec())));
    refused(
        folder(&files).path(),
        2,
        &["40 of 41 files", "a/17.png", "and 30 more"],
    );
    // So is every class without pictures, and every one that is tested alone.
    let data = folder_of_pngs(&["train/a/1.png", "test/b/1.png", "test/c/1.png"]);
    refused(
        data.path(),
        1,
        &["test/b is for testing a class", "test/c is for testing"],
    );
    for empty in ["train/d", "train/e"] {
        fs::create_dir(data.path().join(empty)).unwrap();
    }
    refused(
        data.path(),
        3,
        &["train/d has no picture", "train/e has no picture"],
    );
}

/// Names that are not Unicode are Linux's.
#[cfg(target_os = "linux")]
#[test]
fn classes_with_names_that_are_not_unicode_keep_their_pictures() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let name = |half: &str, class: &[u8], file: &str| {
        let class = Path::new(OsStr::from_bytes(class));
        Path::new(half).join(class).join(file)
    };
    let classes: [&[u8]; 3] = [b"caf\xe8", b"caf\xe9", br"caf\xe8"];
    let mut files = Vec::new();
    for (class, &of) in classes.iter().enumerate() {
        for picture in 0..3 {
            let file = format!("{picture}.png");
            let grey = 10 * (class * 3 + picture) as u8;
            files.push((name("train", of, &file), png(grey)));
            files.push((name("test", of, &file), png(100 + grey)));
        }
    }
    let data = folder(&files);
    let layout = Layout::open(data.path()).unwrap();
    let names = layout.class_names();
    let mut sorted = [r"caf\xe8", r"caf\xe9", r"caf\\xe8"];
    sorted.sort_unstable();
    assert_eq!(names, sorted);
    for (split, offset) in [(Split::Train, 0), (Split::Test, 100)] {
        let (read, _) = layout.read(split, SIDE, 3).unwrap();
        assert_eq!(read.len(), 9);
        for index in 0..9 {
            let class = usize::from((read.picture(index)[5] - offset) / 10) / 3;
            let shown = [r"caf\xe8", r"caf\xe9", r"caf\\xe8"][class];
            assert_eq!(names[usize::from(read.labels[index])], shown);
        }
    }
    // A class that is tested alone is named as what it is.
    let alone = folder(&[
        (name("train", classes[0], "1.png"), png(0)),
        (name("test", classes[1], "1.png"), png(0)),
    ]);
    refused(alone.path(), 1, &[r"caf\xe9 is for testing a class"]);
}

#[cfg(target_os = "linux")]
#[test]
fn composed_and_decomposed_names_are_one_class() {
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let [train, test] = [
        format!("train/{composed}/1.png"),
        format!("test/{decomposed}/1.png"),
    ];
    let data = folder_of_pngs(&[&train, &test, "train/the/1.png"]);
    let layout = Layout::open(data.path()).unwrap();
    assert_eq!(layout.class_names(), ["caf\u{e9}", "the"]);
    assert_eq!(layout.read(Split::Test, SIDE, 2).unwrap().0.labels, [0]);
    for half in ["", "train/"] {
        let both = [composed, decomposed].map(|name| format!("{half}{name}/1.png"));
        let data = folder_of_pngs(&[&both[0], &both[1]]);
        refused(
            data.path(),
            2,
            &[r"caf\u{e9}", r"cafe\u{301}", "composed and decomposed"],
        );
    }
}
