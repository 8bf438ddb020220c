//! From x_0 to pixels and hashes.

use proptest::prelude::*;
use tiny_ddpm::picture::{picture_hash, state_hash, to_pixels};

fn pixel(x: f32) -> u8 {
    let mut pixels = [99];
    to_pixels(&[x], &mut pixels);
    pixels[0]
}

#[test]
fn the_range_maps_to_0_to_255() {
    for (x, expected) in [
        (-1.0, 0),
        (1.0, 255),
        (0.0, 128),
        (-0.5, 64),
        (0.5, 191),
        // One step is 2/255; half of it decides.
        (-1.0 + 0.99 / 255.0, 0),
        (-1.0 + 1.01 / 255.0, 1),
    ] {
        assert_eq!(pixel(x), expected, "{x}");
    }
}

#[test]
fn what_lies_outside_is_cut() {
    for x in [-1.0001, -7.0, f32::MIN, f32::NEG_INFINITY] {
        assert_eq!(pixel(x), 0);
    }
    for x in [1.0001, 7.0, f32::MAX, f32::INFINITY] {
        assert_eq!(pixel(x), 255);
    }
    assert_eq!(pixel(f32::NAN), 0);
}

#[test]
fn every_pixel_comes_back() {
    for expected in 0..=255_u8 {
        assert_eq!(pixel(f32::from(expected) / 127.5 - 1.0), expected);
    }
}

#[test]
fn the_shorter_slice_decides() {
    let mut pixels = [7; 3];
    to_pixels(&[1.0], &mut pixels);
    assert_eq!(pixels, [255, 7, 7]);
    to_pixels(&[-1.0; 9], &mut pixels);
    assert_eq!(pixels, [0; 3]);
}

/// The check value of CRC-32/ISO-HDLC, and `zlib.crc32` of a ramp.
#[test]
fn the_hash_is_the_usual_crc() {
    assert_eq!(picture_hash(b"123456789"), 0xcbf4_3926);
    assert_eq!(picture_hash(&[]), 0);
    let ramp: Vec<u8> = (0..=255).collect();
    assert_eq!(picture_hash(&ramp), 0x2905_8c73);
}

#[test]
fn the_state_s_hash_is_that_of_its_bytes() {
    let x = [0.0, -0.0, 1.5, f32::MIN_POSITIVE, f32::INFINITY];
    let bytes: Vec<u8> = x.iter().flat_map(|v: &f32| v.to_le_bytes()).collect();
    assert_eq!(state_hash(&x), picture_hash(&bytes));
    assert_ne!(state_hash(&[0.0]), state_hash(&[-0.0]));
}

/// What 0/0 gives has a sign on x86, and none on Arm and RISC-V.
#[test]
fn one_nan_is_as_good_as_another() {
    let nans = [0x7fc0_0000, 0xffc0_0000, 0x7f80_0001].map(f32::from_bits);
    let hashes = nans.map(|nan| state_hash(&[0.5, nan]));
    assert_eq!(hashes, [hashes[0]; 3]);
    assert_ne!(hashes[0], state_hash(&[0.5, f32::INFINITY]));
}

proptest! {
    #[test]
    fn brighter_stays_brighter(a in -1.5_f32..1.5, b in -1.5_f32..1.5) {
        let (low, high) = (a.min(b), a.max(b));
        prop_assert!(pixel(low) <= pixel(high));
    }
}
