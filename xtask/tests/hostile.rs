//! What a blob may do to a chip, whoever made it: be refused with a reason, or
//! run within a stated time.
//!
//! These tests need toolchains for microcontrollers and QEMU, and fail
//! without: `cargo xtask test` installs both.

use std::sync::LazyLock;
use tiny_ddpm::blob::Writer;
use tiny_ddpm::{Level, Model, ScheduleKind, Topology};
use xtask::bench::machine::{self, Machine};
use xtask::bench::reference::hostile::{Cases, Ran, step};
use xtask::bench::reference::memory::Random;
use xtask::hostile::{bases, hex, on_chip, on_host, uncounted, with_bases};
use xtask::random::{
    int4_blob, point_topology, random_blob, small_topology, smallest_topology, transformed_blob,
};
use xtask::setup::{CORTEX_M4, OTHER_TARGETS, Toolchain, has_qemu, has_riscv_qemu};

const MACHINES: [Machine; 3] = [Machine::M4, Machine::M0, Machine::Rv32];

static BUILT: LazyLock<()> = LazyLock::new(|| {
    let mut targets = vec![CORTEX_M4];
    targets.extend(OTHER_TARGETS);
    let toolchain = Toolchain::find(&targets)
        .expect("no toolchain for microcontrollers: `cargo xtask test` installs one");
    assert!(
        has_qemu() && has_riscv_qemu(),
        "no QEMU: `cargo xtask test` installs it"
    );
    machine::build(toolchain, &MACHINES).unwrap();
});

/// A share of what `cargo xtask hostile` runs.
fn assert_agrees(machine: Machine, count: u32) {
    LazyLock::force(&BUILT);
    let cases = Cases {
        seed: 1,
        first: 0,
        count,
    };
    let bases = bases();
    let chip = on_chip(machine, &bases, cases).unwrap();
    chip.assert_same(&on_host(&bases, cases)).unwrap();
    assert!(chip.share <= 1000, "{chip:#?}");
    assert_eq!(chip.hashes.last().unwrap().0, count);
}

#[test]
fn cortex_m4_says_of_hostile_blobs_what_the_host_does() {
    assert_agrees(Machine::M4, 4000);
}

#[test]
fn cortex_m0_says_of_hostile_blobs_what_the_host_does() {
    assert_agrees(Machine::M0, 1500);
}

#[test]
fn risc_v_says_of_hostile_blobs_what_the_host_does() {
    assert_agrees(Machine::Rv32, 1500);
}

/// The mutations are worth something: they reach every check, and get past
/// all of them.
#[test]
fn mutations_reach_every_check() {
    let cases = Cases {
        seed: 1,
        first: 0,
        count: 4000,
    };
    let outcome = on_host(&bases(), cases);
    let tried: u32 = outcome.mutations.values().map(|counts| counts.0).sum();
    assert_eq!(tried, cases.count);
    for (name, (tried, accepted)) in &outcome.mutations {
        assert!(*tried > 250, "{name}: {outcome:#?}");
        let from_valid = !matches!(&**name, "header" | "noise" | "splice" | "shift" | "cut");
        assert!(*accepted > 0 || !from_valid, "{name}: {outcome:#?}");
    }
    let ran = outcome.verdicts["ran"];
    assert!(ran > cases.count / 10, "{outcome:#?}");
    for verdict in [
        "TooShort",
        "TooLong",
        "BadMagic",
        "Version",
        "HeaderCrc",
        "Crc",
        "Info",
        "ArchMismatch",
        "Packing",
        "Recommended",
        "Record",
        "TrailingBytes",
        "Topology.ImageSize",
        "Topology.Patch",
        "Topology.Channels",
        "Topology.Heads",
        "Topology.GroupChannels",
        "Schedule.Timesteps",
        "Schedule.Beta",
        "Param.Length",
        "Param.Alignment",
        "Param.Scale",
        "Param.NotFinite",
        "Param.Weight",
        "Param.WeightLayout",
        "Param.Bias",
        "Param.Multiplier",
        "Param.Gain",
        "Param.Shift",
        "Param.ZeroPoint",
    ] {
        assert!(
            outcome.verdicts.contains_key(verdict),
            "{verdict}: {outcome:#?}"
        );
    }
}

/// A blob with the schedule that takes longest to compute.
fn slowest(mut blob: Vec<u8>) -> Vec<u8> {
    let model = Model::load(&blob).unwrap();
    let mut info = model.info().clone();
    info.schedule = ScheduleKind::Linear {
        beta_start: 1e-4,
        beta_end: 0.005,
    };
    info.timesteps = 4000;
    let layers = blob[blob.len() - model.records().remaining()..].to_vec();
    let mut buffer = vec![0; blob.len() + 64];
    let begin = Writer::new(&mut buffer, &info).unwrap().finish();
    // Weights keep their alignment: both numbers of the schedule take 8 bytes.
    assert_eq!(begin + layers.len(), blob.len() + 16);
    let arch_hash = model.arch_hash();
    buffer.truncate(begin);
    buffer.extend(layers);
    let header = tiny_ddpm::blob::header::seal(arch_hash, &buffer[32..]);
    buffer[..32].copy_from_slice(&header);
    blob.clone_from(&buffer);
    blob
}

fn levels(levels: &[u16], attention: bool) -> Topology {
    let levels = levels.iter().map(|&channels| Level {
        channels,
        attention,
    });
    Topology {
        levels: levels.collect(),
        mid_attention: attention,
        group_channels: 1,
        heads: 1,
        ..small_topology()
    }
}

/// Valid networks in which, for each multiply-accumulate, as much else is to
/// be done as we could think of.
fn worst() -> Vec<Vec<u8>> {
    // Of few channels, many positions.
    let thin = Topology {
        image_size: 64,
        patch: 1,
        ..levels(&[1], false)
    };
    let resampled = Topology {
        image_size: 64,
        patch: 2,
        ..levels(&[3, 3, 3, 3], false)
    };
    let odd = Topology {
        image_size: 63,
        patch: 7,
        blocks: 4,
        ..levels(&[5], false)
    };
    // A softmax for each channel.
    let heads = Topology {
        image_size: 32,
        patch: 2,
        heads: 4,
        ..levels(&[4], true)
    };
    // Hardly anything but the embedding.
    let embedding = Topology {
        image_size: 2,
        patch: 2,
        time_features: 512,
        embedding: 256,
        ..levels(&[1], false)
    };
    let wide = Topology {
        levels: levels(&[48], false).levels,
        group_channels: 48,
        ..smallest_topology()
    };
    let points = Topology {
        patch: 8,
        ..point_topology()
    };
    let blobs = vec![
        random_blob(thin.clone(), 1),
        transformed_blob(resampled, 2),
        int4_blob(odd, 3),
        random_blob(heads, 4),
        random_blob(embedding, 5),
        random_blob(wide, 6),
        random_blob(points, 7),
        transformed_blob(thin, 8),
    ];
    blobs.into_iter().map(slowest).collect()
}

/// The same on this computer.
fn hashes(blobs: &[Vec<u8>]) -> Vec<u32> {
    let mut hashes = Vec::new();
    for blob in blobs {
        let model = Model::load(blob).unwrap();
        let (mut x, mut memory) = (vec![0.0; 4096], vec![0.0; 4096]);
        let mut workspace = vec![0; 1 << 18];
        for seed in 0..4 {
            let (mut ran, mut random) = (Ran::default(), Random::new(seed));
            let mut lap = || 0;
            step(
                &model,
                &mut random,
                &mut workspace,
                &mut x,
                &mut memory,
                &mut uncounted(&mut lap),
                &mut ran,
            )
            .unwrap();
            hashes.push(ran.hash);
        }
    }
    hashes
}

#[test]
fn the_worst_networks_take_no_longer_than_stated() {
    LazyLock::force(&BUILT);
    let blobs = worst();
    let expected = hashes(&blobs);
    for machine in MACHINES {
        let (mut shares, mut found) = (Vec::new(), Vec::new());
        with_bases(machine, &blobs, "work", |name, values| {
            if name == "work" {
                shares.push(values.number::<u64>("share")?);
                found.push(hex(values, "hash")?);
            }
            Ok(())
        })
        .unwrap();
        println!(
            "{}: thousandths of the stated time {shares:?}",
            machine.name()
        );
        assert_eq!(found, expected, "{machine:?}");
        assert!(shares.iter().all(|&share| share <= 1000), "{shares:?}");
        // The statement is no wild guess.
        assert!(shares.iter().any(|&share| share >= 250), "{shares:?}");
    }
}

/// Runs a trial with the device's own model and one that is too large for it;
/// steps done, instructions of a step stated and of the longest, and the
/// hash.
fn watchdog(machine: Machine, trial: &str) -> anyhow::Result<(u32, u64, u64, u32)> {
    LazyLock::force(&BUILT);
    let larger = Topology {
        image_size: 64,
        patch: 1,
        ..levels(&[6], false)
    };
    let blobs = [random_blob(small_topology(), 1), random_blob(larger, 2)];
    let mut told = None;
    with_bases(
        machine,
        &blobs,
        &format!("watchdog={trial}"),
        |name, values| {
            if name == "watchdog" {
                told = Some((
                    values.number("steps")?,
                    values.number("limit")?,
                    values.number("longest")?,
                    hex(values, "hash")?,
                ));
            }
            Ok(())
        },
    )?;
    Ok(told.expect("no word of the watchdog"))
}

#[test]
fn a_watchdog_that_is_fed_between_steps_does_not_bite() {
    for machine in [Machine::M4, Machine::M0] {
        let (steps, limit, longest, _) = watchdog(machine, "fed").unwrap();
        assert_eq!(steps, 40);
        assert!(longest <= limit, "{longest} of {limit}");
        // All of them take longer than it waits: feeding is what helps.
        assert!(u64::from(steps) * longest > limit, "{longest} of {limit}");
    }
}

#[test]
fn a_watchdog_bites_when_it_is_not_fed() {
    for machine in [Machine::M4, Machine::M0] {
        let error = watchdog(machine, "starved").unwrap_err().to_string();
        assert!(error.contains("the watchdog bites after"), "{error}");
        assert!(!error.contains("after 40 steps"), "{error}");
    }
}

#[test]
fn a_blob_that_asks_for_too_much_work_is_refused_before_it_runs() {
    let error = watchdog(Machine::M4, "checked").unwrap_err().to_string();
    assert!(error.contains("TooMuchWork"), "{error}");
    assert!(!error.contains("bites"), "{error}");
}

#[test]
fn a_step_that_takes_too_long_is_bitten() {
    let error = watchdog(Machine::M4, "unchecked").unwrap_err().to_string();
    assert!(
        error.contains("the watchdog bites after 0 steps"),
        "{error}"
    );
}
