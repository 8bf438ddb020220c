//! Power fails at every operation of an update: before it, within it, after it.

mod common;

use common::{MockFlash, WHENS, When, active_blob, blob, install};
use tiny_ddpm_slots::{Region, Slots};

/// Seeds of what a half-done operation leaves.
const SEEDS: u64 = 4;

/// A flash after so many updates, and what is active on it.
struct Scene<const W: usize, const E: usize> {
    flash: MockFlash<W, E>,
    region: Region,
    active: Option<Vec<u8>>,
}

impl<const W: usize, const E: usize> Scene<W, E> {
    /// Not at the flash's start, on pages that were used before.
    fn new(updates: u64) -> Self {
        let slot_len = 1024_u32.max(2 * E as u32);
        let region = Region {
            offset: E as u32,
            slot_len,
        };
        let mut flash = MockFlash::used(E + 2 * slot_len as usize, updates);
        let mut active = None;
        for number in 1..=updates {
            let blob = blob(number, 500 + 31 * number as usize);
            install(&mut Slots::new(&mut flash, region).unwrap(), &blob).unwrap();
            active = Some(blob);
        }
        Self {
            flash,
            region,
            active,
        }
    }

    /// Operations that an update with `blob` takes.
    fn operations(&self, blob: &[u8]) -> usize {
        let mut flash = self.flash.clone();
        let before = flash.operations;
        install(&mut Slots::new(&mut flash, self.region).unwrap(), blob).unwrap();
        flash.operations - before
    }

    /// An update with `blob` during which power fails at an operation. What
    /// is active afterwards must be what was before, or the new.
    fn interrupted(&self, blob: &[u8], operation: usize, when: When, seed: u64) -> Self {
        let mut flash = self.flash.clone();
        flash.cut_at(operation, when, seed);
        let result = install(&mut Slots::new(&mut flash, self.region).unwrap(), blob);
        assert!(result.is_err(), "power did not fail");
        flash.reboot();
        let active = active_blob(&mut flash, self.region);
        let last = operation + 1 == self.operations(blob);
        let place = format!("operation {operation}, {when:?}, seed {seed}");
        match last {
            // The record's last word may have been whole, or near enough.
            true if active.as_deref() == Some(blob) => assert_ne!(when, When::Before, "{place}"),
            true => assert!(active == self.active && when != When::After, "{place}"),
            // Words before it cannot make a record, unless those after it are
            // all ones; a checksum is not.
            false => assert!(active == self.active, "{place}"),
        }
        Self {
            flash,
            region: self.region,
            active,
        }
    }
}

fn every_cut<const W: usize, const E: usize>() {
    for updates in 0..4 {
        let scene = Scene::<W, E>::new(updates);
        let (new, next) = (blob(77, 700), blob(78, 333));
        let operations = scene.operations(&new);
        assert!(operations > 700 / W, "{operations}");
        let mut cuts = 0;
        for operation in 0..operations {
            for when in WHENS {
                for seed in 0..if when == When::Within { SEEDS } else { 1 } {
                    cuts += 1;
                    let mut after = scene.interrupted(&new, operation, when, seed);
                    let slots = Slots::new(&mut after.flash, after.region);
                    install(&mut slots.unwrap(), &next).unwrap();
                    let active = active_blob(&mut after.flash, after.region);
                    assert_eq!(active.as_ref(), Some(&next));
                }
            }
        }
        println!("words of {W}, pages of {E}, after {updates} updates: {cuts} cuts");
    }
}

#[test]
fn bytes_and_small_pages() {
    every_cut::<1, 256>();
}

#[test]
fn words_and_pages() {
    every_cut::<4, 512>();
}

#[test]
fn double_words_and_large_pages() {
    every_cut::<8, 2048>();
}

#[test]
fn long_words() {
    every_cut::<32, 1024>();
}

#[test]
fn whole_blocks() {
    every_cut::<128, 256>();
}

/// Power fails, and fails again during the update that makes up for it.
#[test]
fn every_pair_of_cuts() {
    let scene = Scene::<32, 512>::new(2);
    let (new, next, last) = (blob(77, 600), blob(78, 620), blob(79, 200));
    let mut seed = 0;
    let mut pairs = 0;
    for first in 0..scene.operations(&new) {
        for when in WHENS {
            seed += 1;
            let after = scene.interrupted(&new, first, when, seed);
            for second in 0..after.operations(&next) {
                for when in WHENS {
                    seed += 1;
                    pairs += 1;
                    let mut after = after.interrupted(&next, second, when, seed);
                    assert!(after.active.is_some());
                    let slots = Slots::new(&mut after.flash, after.region);
                    install(&mut slots.unwrap(), &last).unwrap();
                    let active = active_blob(&mut after.flash, after.region);
                    assert_eq!(active.as_ref(), Some(&last));
                }
            }
        }
    }
    println!("{pairs} pairs of cuts");
}
