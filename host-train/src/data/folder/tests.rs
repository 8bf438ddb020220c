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
        "37 pictures for training of 3 classes: 0 10 (10), 1 cat (18), 2 dog (9)",
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
    assert!(notice.contains("3 pictures for testing"), "{notice}");
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
        &[
            "holds neither IDX files nor pictures",
            "train-images-idx3-ubyte",
            "sub-folder of pictures",
        ],
    );
    fs::write(folder.path().join("notes.txt"), "").unwrap();
    refused(folder.path(), &["holds neither"]);
    fs::create_dir(folder.path().join("empty")).unwrap();
    refused(folder.path(), &["none with pictures", "empty"]);
    fs::write(folder.path().join("empty/photo.png"), "no PNG").unwrap();
    refused(folder.path(), &["photo.png: is a text file, not a PNG"]);
}
