//! One seed and one blob: the same bits on every target.
//!
//! Needs what `cargo xtask hashes` needs, and fails without: that command and
//! `cargo xtask test` install it.

use std::collections::HashSet;
use tiny_ddpm::blob::header::{HEADER_LEN, seal};
use tiny_ddpm::{Method, Model, Spacing};
use xtask::hashes::cases::{self, Outcome};
use xtask::hashes::target::Target;
use xtask::hashes::{Made, Row, Subject, here, measure, same, subjects, table};

#[test]
fn every_target_makes_the_same_bits() {
    let (subjects, rows) = measure(&Target::ALL).unwrap();
    println!("{}", table(&subjects, &rows));
    same(&subjects, &rows).unwrap();
    assert_eq!(rows.len(), 8);
    // Nothing is left out but what a Cortex-M0 with 16 KiB of RAM cannot hold.
    let left_out = |row: &Row| {
        row.made
            .iter()
            .filter(|made| **made == Made::TooLarge)
            .count()
    };
    let left_out: Vec<_> = rows.iter().map(left_out).collect();
    assert_eq!(left_out, [0, 1, 0, 0, 0, 0, 0, 0]);
    // Models that differ only behind a comma share a column.
    let table = table(&subjects, &rows);
    let cells: Vec<_> = table
        .lines()
        .map(|line| line.split(" | ").count())
        .collect();
    assert_eq!(cells, [11; 10]);
    assert!(table.contains("| random: pixels | random: x_0 | random points: x_0 |"));
    // Every way to multiply that there is.
    for engine in ["Thumb", "Dsp", "Words", "Portable"] {
        assert!(rows.iter().any(|row| row.engine == engine), "no {engine}");
    }
}

fn outcomes(row: &Row, subject: usize) -> &[Outcome] {
    match &row.made[subject] {
        Made::Chains(chains) => chains,
        Made::TooLarge => panic!("too large"),
    }
}

/// A table of equal hashes says something only where what is sampled differs.
#[test]
fn all_chains_differ_from_each_other() {
    let subjects = subjects().unwrap();
    let row = here(&subjects).unwrap();
    let mut states = HashSet::new();
    let mut count = 0;
    for (at, subject) in subjects.iter().enumerate() {
        let model = Model::load(&subject.blob).unwrap();
        let chains = outcomes(&row, at);
        assert!(cases::case(&model, chains.len()).is_none());
        let settings: Vec<_> = (0..chains.len())
            .map(|number| cases::case(&model, number).unwrap())
            .collect();
        let methods: HashSet<_> = settings.iter().map(|s| s.method.name()).collect();
        let spacings: HashSet<_> = settings.iter().map(|s| s.spacing.name()).collect();
        // A Cortex-M0 has no memory for two more of nano's pictures.
        let left_out = usize::from(subject.name == "nano");
        let all = (Method::NAMES.len() - left_out, Spacing::ALL.len());
        assert_eq!((methods.len(), spacings.len()), all, "{}", subject.name);
        let guided = settings.iter().filter(|s| s.guidance != 0.0).count();
        assert_eq!(guided > 0, model.topology().classes > 0, "{}", subject.name);
        states.extend(chains.iter().map(|chain| chain.state));
        count += chains.len();
    }
    assert_eq!(states.len(), count);
}

fn with_another_weight(subject: &Subject) -> Subject {
    let model = Model::load(&subject.blob).unwrap();
    let mut blob = subject.blob.clone();
    // Of those that may be anything, so that the blob stays valid.
    let at = (HEADER_LEN + 200..blob.len())
        .find(|&at| {
            let mut changed = subject.blob.clone();
            changed[at] ^= 0x40;
            let header = seal(model.arch_hash(), &changed[HEADER_LEN..]);
            changed[..HEADER_LEN].copy_from_slice(&header);
            Model::load(&changed).is_ok()
        })
        .unwrap();
    blob[at] ^= 0x40;
    let header = seal(model.arch_hash(), &blob[HEADER_LEN..]);
    blob[..HEADER_LEN].copy_from_slice(&header);
    Subject {
        blob,
        ..subject.clone()
    }
}

#[test]
fn one_changed_weight_is_a_difference_with_its_place() {
    let subjects = &subjects().unwrap()[..1];
    let row = here(subjects).unwrap();
    same(subjects, &[row.clone(), row.clone()]).unwrap();
    let changed = Row {
        title: "spoiled".to_owned(),
        ..here(&[with_another_weight(&subjects[0])]).unwrap()
    };
    let error = same(subjects, &[row.clone(), changed]).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("random, portable, chain 0 on a spoiled"),
        "{message}"
    );

    // Nor may anything be missing.
    let mut short = row.clone();
    short.made[0] = Made::Chains(outcomes(&row, 0)[1..].to_vec());
    assert!(same(subjects, &[row.clone(), short]).is_err());
    let empty = Row {
        made: vec![],
        ..row.clone()
    };
    assert!(same(subjects, &[row, empty]).is_err());
}

/// The Cortex-M0 samples in place, in what its memory holds.
#[test]
fn chains_in_place_are_the_same_ones() {
    let subjects = subjects().unwrap();
    let row = here(&subjects).unwrap();
    for (at, subject) in subjects.iter().enumerate() {
        let mut arena = vec![
            0;
            if subject.small {
                cases::SMALL_ARENA
            } else {
                1 << 16
            }
        ];
        let mut chains = Vec::new();
        let mut report = |_, outcome| chains.push(outcome);
        cases::run::<true>(&subject.blob, &mut arena, &mut report).unwrap();
        assert_eq!(chains, outcomes(&row, at), "{}", subject.name);
    }
}
