//! `tiny-ddpm repack`: a blob for another device.

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use tiny_ddpm::blob::records::{Record, WeightLayout};

use crate::model_file;
use crate::output::{Staged, check_file};
use crate::quant::{Target, repack};

/// Where weights go, and how much of it there is.
#[derive(Args, Clone, Copy, Debug)]
pub struct TargetArgs {
    /// What the blob is to run on; every device runs every packing, but not
    /// every one equally fast
    #[arg(long, value_enum, default_value_t)]
    pub target: Target,
    /// The most bytes that the blob may have for the sake of speed, as in
    /// 900000, 880KiB or 1MiB: for cortex-m4, the others take the smallest
    /// [default: 1MiB]
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub flash: Option<usize>,
}

/// Where no size of flash is given.
const FLASH: usize = 1 << 20;

impl TargetArgs {
    /// The blob, packed for the target.
    ///
    /// # Errors
    /// Where it is not valid, or a size is given that would change nothing or
    /// that the smallest layout exceeds.
    pub fn repack(&self, blob: &[u8]) -> Result<Vec<u8>> {
        ensure!(
            self.flash.is_none() || self.target == Target::CortexM4,
            "--flash is what weights may take for the sake of speed, which only --target cortex-m4 gains from: add that, or leave it out"
        );
        let smallest = repack(blob, Target::Portable, FLASH)?;
        if let Some(flash) = self.flash {
            ensure!(
                flash >= smallest.len(),
                "--flash {flash}: the blob has {} bytes even in its smallest layout",
                smallest.len()
            );
        }
        let repacked = repack(blob, self.target, self.flash.unwrap_or(FLASH))?;
        if self.target == Target::CortexM4 && repacked == smallest {
            eprintln!(
                "no convolution was transformed: none gains from it, or fits --flash {}; the blob is as for --target portable",
                self.flash.unwrap_or(FLASH)
            );
        }
        Ok(repacked)
    }
}

/// Store a blob's weights in another way: smaller, or faster on a device
///
/// The model stays the same: its pictures keep their hashes.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  tiny-ddpm repack models/digits.tddpm --target cortex-m4 --flash 880KiB --out fast.tddpm
  tiny-ddpm repack fast.tddpm --target portable --out small.tddpm")]
pub struct RepackArgs {
    /// The blob
    #[arg(value_name = "BLOB")]
    pub blob: PathBuf,
    /// The blob to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// For which device.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Repacks a blob.
///
/// # Errors
/// Where it cannot be read, is not valid, or cannot be written.
pub fn run(args: &RepackArgs) -> Result<()> {
    let bytes = model_file::read(&args.blob)?;
    model_file::load(&args.blob, &bytes)?;
    check_file(&args.out)?;
    let repacked = args.target.repack(&bytes)?;
    let model = model_file::load(&args.out, &repacked)?;
    let (mut convolutions, mut transformed, mut int4) = (0, 0, 0);
    model.for_each_layer(|layer| {
        if let Record::Conv(conv) = layer.record {
            convolutions += 1;
            transformed += usize::from(matches!(
                conv.layout,
                WeightLayout::Winograd | WeightLayout::Phases
            ));
            int4 += usize::from(conv.layout == WeightLayout::Int4);
        }
    });
    let mut staged = Staged::default();
    staged.add(&args.out, &repacked)?;
    staged.publish()?;
    println!(
        "{}: {} bytes (before: {}), {transformed} of {convolutions} convolutions transformed, \
         {int4} in 4 bits, SHA-256 {}",
        args.out.display(),
        repacked.len(),
        bytes.len(),
        model_file::sha256(&repacked)
    );
    Ok(())
}

/// Reads a number of bytes, or of KiB or MiB.
fn parse_bytes(text: &str) -> Result<usize> {
    let (digits, unit) = match text.trim() {
        t if t.ends_with("MiB") => (&t[..t.len() - 3], 1 << 20),
        t if t.ends_with("KiB") => (&t[..t.len() - 3], 1 << 10),
        t => (t, 1),
    };
    let number: usize = digits
        .trim()
        .parse()
        .map_err(|_| anyhow!("must be a number of bytes like 900000, 880KiB or 1MiB"))?;
    let bytes = number.checked_mul(unit);
    let bytes = bytes.ok_or_else(|| anyhow!("is more than any device has"))?;
    ensure!(bytes > 0, "must be above 0");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_bytes("900000").unwrap(), 900_000);
        assert_eq!(parse_bytes("880KiB").unwrap(), 880 << 10);
        assert_eq!(parse_bytes("1 MiB").unwrap(), 1 << 20);
        for wrong in ["", "1MB", "-1", "0", "x KiB", "99999999999999999999"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
