//! Training data: IDX files of pictures and of labels, bare and gzipped.

#![no_main]

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;
use tiny_ddpm_train::idx::{images, labels};

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, file)) = bytes.split_first() else {
        return;
    };
    let (size, classes) = (usize::from(choice >> 4) + 1, u16::from(choice & 15));
    let path = Path::new("some-file");
    let pictures = images(path, file.to_vec(), size);
    let classified = labels(path, file.to_vec(), 0, classes);
    // Labels that count from 1 are one less.
    let from_one = labels(path, file.to_vec(), 1, classes);
    if let (Ok(zero), Ok(one)) = (&classified, &from_one) {
        assert!(zero.iter().zip(one).all(|(zero, one)| zero - 1 == *one));
    }
    // Bytes that are compressed already are read as what they unpack to.
    if file.starts_with(&[0x1f, 0x8b]) {
        return;
    }

    // What is accepted is all that the file holds, in its order.
    if let Ok(pixels) = &pictures {
        let count = (pixels.len() / (size * size)) as u32;
        let side = size as u32;
        let header = [0x0803, count, side, side].map(u32::to_be_bytes).concat();
        assert!(count > 0);
        assert_eq!([header, pixels.clone()].concat(), file);
        assert!(classified.is_err(), "pictures and labels at once");
    }
    if let Ok(found) = &classified {
        let count = found.len() as u32;
        if file.starts_with(&[0, 0, 8, 1]) {
            let header = [0x0801, count].map(u32::to_be_bytes).concat();
            assert_eq!([header, found.clone()].concat(), file);
        } else {
            // A table, of which the labels are the first column.
            assert_eq!(file[..8], [0x0c02, count].map(u32::to_be_bytes).concat());
            let row = 4 * u32::from_be_bytes(file[8..12].try_into().expect("checked")) as usize;
            assert_eq!(file.len(), 12 + row * found.len());
            for (row, &label) in file[12..].chunks(row).zip(found) {
                assert_eq!(row[..4], u32::from(label).to_be_bytes());
            }
        }
        assert!(classes == 0 || found.iter().all(|&label| u16::from(label) < classes));
    }
    let errors = [pictures.as_ref().err(), classified.as_ref().err()];
    for error in errors.into_iter().flatten() {
        assert!(error.to_string().contains("some-file"));
    }

    // Compressed, in two members, it is the same file. That takes a while: of
    // those that are refused a few will do.
    if pictures.is_err() && classified.is_err() && file.len() % 16 > 0 {
        return;
    }
    let compressed = |part: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(part).expect("into memory");
        encoder.finish().expect("into memory")
    };
    let (first, second) = file.split_at(file.len() / 2);
    let both = [compressed(first), compressed(second)].concat();
    let again = images(path, both.clone(), size);
    assert_eq!(pictures.ok(), again.ok());
    assert_eq!(classified.ok(), labels(path, both, 0, classes).ok());
});
