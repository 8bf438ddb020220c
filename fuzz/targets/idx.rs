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
    let (bare, packed) = (Path::new("some-file"), Path::new("some-file.gz"));
    let pictures = images(bare, file.to_vec(), size);
    let classified = labels(bare, file.to_vec(), classes);

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
        let header = [0x0801, found.len() as u32].map(u32::to_be_bytes).concat();
        assert_eq!([header, found.clone()].concat(), file);
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
    let again = images(packed, both.clone(), size);
    assert_eq!(pictures.ok(), again.ok());
    assert_eq!(classified.ok(), labels(packed, both, classes).ok());

    // And as somebody may have named it.
    let _ = images(packed, file.to_vec(), size);
    let _ = labels(packed, file.to_vec(), classes);
});
