//! What a user types.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Result, ensure};
use clap::Args;
use tiny_ddpm::blob::records::Recommended;
use tiny_ddpm::{Data, Schedule};

use crate::generate::{Classes, Request, SamplingArgs};

/// Generate pictures on this computer, the same that the chip makes
///
/// The pictures come from the same code as on the chip. Picture number i under
/// a seed is the same however many are generated, and its hash is the one that
/// the chip prints. What is not given is as the model recommends. Of a training
/// run they are those of its averaged weights, in floats.
///
/// Of a model for points it makes points, 2000 unless told, and writes
/// points.npy (f32, points x values), points.csv, labels.npy, scatter.png and,
/// with --gif, denoising.gif.
///
/// Otherwise, in the folder named by --out it writes images.npy (u8, pictures x rows x
/// columns), labels.npy (i64, -1 without a class), hashes.csv, grid.png and,
/// with --gif, denoising.gif or, with --walk, walk.gif. What stood there under these names is replaced.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct SampleArgs {
    /// The weights, as `tiny-ddpm export` writes them, or the folder of a
    /// training run
    #[arg(value_name = "BLOB|RUN")]
    pub blob: PathBuf,
    /// How many pictures [default: one of each class, or 16 of one; 2000 points]
    #[arg(long, value_name = "N", value_parser = whole::<usize>, allow_negative_numbers = true)]
    pub count: Option<usize>,
    /// Draw from picture N of the seed on: alone, unless --count says otherwise.
    /// Pictures keep their number's class and hash
    #[arg(long, value_name = "N")]
    pub first: Option<u64>,
    /// What they show: a class's number, `all` in equal shares, or `none`
    /// [default: all]
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    pub class: Option<Classes>,
    /// Timesteps visited, 1 to the schedule's T [default: the model's]
    #[arg(long, value_name = "K", value_parser = whole::<u16>, allow_negative_numbers = true)]
    pub steps: Option<u16>,
    /// How to sample.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Let the predicted picture leave [-1, 1] between steps
    #[arg(long)]
    pub no_clip: bool,
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = "out/samples")]
    pub out: PathBuf,
    /// Write the denoising of the first pictures as an animation, too
    #[arg(long)]
    pub gif: bool,
    /// Walk from each picture to the next and back to the first in N frames each:
    /// the noise turns, and the class changes halfway. Writes walk.gif, and plays
    /// it in a terminal [default: 16 frames]
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        default_missing_value = "16",
        conflicts_with = "gif"
    )]
    pub walk: Option<NonZeroU16>,
    /// Where a run's network is computed; a blob's always is on the CPU
    #[cfg(feature = "train")]
    #[arg(long, value_enum, default_value = "flex")]
    pub backend: crate::network::Backend,
    /// Print errors only; with --json, the JSON as well
    #[arg(long, short)]
    pub quiet: bool,
    /// Print settings, hashes and files as JSON
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  tiny-ddpm sample models/digits.tddpm
      one of each class, in out/samples and in the terminal
  tiny-ddpm sample models/digits.tddpm --class 7 --count 100 --seed 42 --gif
      a hundred sevens and how they came out of the noise
  tiny-ddpm sample models/digits.tddpm --count 1000 --steps 20 --out out/judge
      a set for a classifier: picture i shows class i modulo 10
  tiny-ddpm sample models/digits.tddpm --walk
      from 0 to 9 and back to 0, in 16 frames from each to the next
  tiny-ddpm sample models/digits.tddpm --first 7
      picture 7 of the seed alone, with the hash that it has in any set
  tiny-ddpm sample models/swiss-roll.tddpm
      2000 points on a spiral, as a map and a table
  tiny-ddpm sample models/digits.tddpm --sampler ddpm --steps 1000
      every step of the chain, as in Ho et al. 2020
  tiny-ddpm sample models/digits.tddpm --sampler unipc --spacing shifted --steps 8
      as good as the default, with fewer runs of the network
  tiny-ddpm sample runs/reference --count 8
      what a run has learned so far, in floats";

/// A whole number; how large it may be, the request knows.
fn whole<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let what = if digits {
            "far too large"
        } else {
            "must be a whole number, at least 1"
        };
        what.to_owned()
    })
}

impl SampleArgs {
    /// What is asked of a model that draws this, with these settings, so many
    /// classes and this schedule.
    pub(super) fn request(
        &self,
        data: Data,
        recommended: Recommended,
        known: u16,
        schedule: &Schedule,
    ) -> Result<Request> {
        let mut request = Request::recommended(data, recommended, known, self.class);
        request.method = self.sampling.method(recommended)?;
        request.spacing = self.sampling.spacing();
        if let Some(first) = self.first {
            (request.first, request.count) = (first, 1);
        }
        request.count = self.count.unwrap_or(request.count);
        if let Some(frames) = self.walk {
            ensure!(
                matches!(data, Data::Picture { .. }),
                "--walk leads from picture to picture, and this model draws points"
            );
            request.walk = Some(frames);
            request.count = request.count.saturating_mul(frames.get().into());
        }
        request.steps = self.steps.unwrap_or(request.steps);
        request.guidance = self.sampling.guidance.unwrap_or(request.guidance);
        request.clip = !self.no_clip;
        request.seed = self.sampling.seed;
        request.validate_for(known, schedule)?;
        Ok(request)
    }
}
