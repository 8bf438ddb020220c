//! What a user sees of a training, and `metrics.csv`.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use super::few_step::{CRITICS, CriticLosses, DISTANCES};
use crate::config::TrainingConfig;
use crate::duration::duration;
use crate::progress::style;

/// Steps and time that are measured before the rest is estimated.
const MEASURED_STEPS: u32 = 2;
const MEASURED: Duration = Duration::from_secs(3);

/// How long steps take, previews and checkpoints between them included.
///
/// The first one is not counted: it allocates, and a GPU compiles its shaders.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// Steps behind the first.
    steps: u32,
    /// The time that they took.
    taken: Duration,
}

impl Pace {
    /// Whether enough was measured for an estimate.
    fn is_known(self) -> bool {
        self.steps >= MEASURED_STEPS && self.taken >= MEASURED
    }

    /// The time that so many steps will take; `None` where nothing was measured.
    fn time_of(self, steps: u32) -> Option<Duration> {
        (self.steps > 0).then(|| self.taken.mul_f64(f64::from(steps) / f64::from(self.steps)))
    }

    fn steps_per_second(self) -> Option<f64> {
        let seconds = self.taken.as_secs_f64();
        (seconds > 0.0 && self.steps > 0).then(|| f64::from(self.steps) / seconds)
    }
}

/// A bar on a terminal and lines elsewhere, and the rows of `metrics.csv`.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Lines instead of a bar, where there is no terminal.
    lines: bool,
    metrics: File,
    /// The critics' losses and the distances, of a run that distils.
    critics: Option<[File; 2]>,
    started: Instant,
    /// The end of the first step of this process.
    warm: Option<Instant>,
    pace: Pace,
    estimated: bool,
    smooth: f32,
    /// Steps of the whole run.
    all: u32,
}

impl Progress {
    /// Begins to show a run in `folder` of `all` steps, of which `step` are done.
    pub fn new(folder: &Path, step: u32, training: &TrainingConfig) -> Result<Self> {
        let all = training.steps;
        let metrics = table(folder, "metrics.csv")?;
        let critics = match training.few_step {
            Some(_) => Some([table(folder, CRITICS.0)?, table(folder, DISTANCES.0)?]),
            None => None,
        };
        let bar = ProgressBar::new(all.into()).with_position(step.into());
        bar.set_style(style(
            "{bar:30} {pos}/{len}  {msg}  {per_sec}  {left} left",
        )?);
        bar.reset_eta();
        Ok(Self {
            bar,
            lines: !std::io::stderr().is_terminal(),
            metrics,
            critics,
            started: Instant::now(),
            warm: None,
            pace: Pace::default(),
            estimated: false,
            smooth: f32::NAN,
            all,
        })
    }

    /// Counts a step and its loss. As soon as it is known how long steps take,
    /// says once how long the rest will.
    pub fn step(&mut self, step: u32, loss: f32) {
        match self.warm {
            None => self.warm = Some(Instant::now()),
            Some(warm) => {
                self.pace.steps += 1;
                self.pace.taken = warm.elapsed();
            }
        }
        self.smooth = if self.smooth.is_nan() {
            loss
        } else {
            0.95 * self.smooth + 0.05 * loss
        };
        self.bar.set_message(format!("loss {:.4}", self.smooth));
        self.bar.inc(1);
        if !self.estimated && self.pace.is_known() {
            self.estimated = true;
            let left = self.all - step;
            if let Some(text) = estimate(self.pace, left) {
                self.bar.suspend(|| eprintln!("{text}"));
            }
        }
    }

    /// Writes a row of the metrics, and without a terminal a line.
    pub fn log(
        &mut self,
        step: u32,
        loss: f32,
        norm: f64,
        rate: f64,
        critics: Option<CriticLosses>,
    ) -> Result<()> {
        let seconds = self.started.elapsed().as_secs_f64();
        writeln!(
            self.metrics,
            "{step},{loss:.6},{norm:.6},{rate:.8},{seconds:.2}"
        )
        .context("cannot write metrics.csv")?;
        let mut text = line(step, self.all, loss, self.pace);
        if let (Some([file, _]), Some(losses)) = (&mut self.critics, critics) {
            let CriticLosses {
                fake_score,
                discriminator,
            } = losses;
            writeln!(file, "{step},{fake_score:.6},{discriminator:.6}")
                .context("cannot write the critics' losses")?;
            text += &format!("; fake score {fake_score:.4}, discriminator {discriminator:.3}");
        }
        if self.lines {
            eprintln!("{text}");
        }
        Ok(())
    }

    /// Writes a measured distance.
    pub fn measured(&mut self, step: u32, distance: f64) -> Result<()> {
        if let Some([_, file]) = &mut self.critics {
            writeln!(file, "{step},{distance:.4}").context("cannot write the distances")?;
        }
        let text = format!("step {step}: Frechet distance {distance:.2} to the training pictures");
        self.bar.suspend(|| eprintln!("{text}"));
        Ok(())
    }

    /// Waits until the disk has all rows.
    pub fn sync(&self) -> Result<()> {
        let others = self.critics.iter().flatten();
        for file in std::iter::once(&self.metrics).chain(others) {
            file.sync_data().context("cannot write the run's tables")?;
        }
        Ok(())
    }

    /// Leaves the bar as it is.
    pub fn finish(&self) {
        self.bar.abandon();
    }
}

/// A table of the run, to be gone on with.
fn table(folder: &Path, name: &str) -> Result<File> {
    let path = folder.join(name);
    OpenOptions::new()
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// How long the steps that are left will take; `None` where none are.
fn estimate(pace: Pace, left: u32) -> Option<String> {
    let time = pace.time_of(left).filter(|_| left > 0)?;
    Some(format!(
        "about {} for the {left} steps left; Ctrl-C saves and stops",
        duration(time)
    ))
}

/// `step 20 of 60: loss 0.5123, 12.50 steps/s, 3.2 s left`.
fn line(step: u32, all: u32, loss: f32, pace: Pace) -> String {
    let mut text = format!("step {step} of {all}: loss {loss:.4}");
    if let Some(rate) = pace.steps_per_second() {
        text += &format!(", {rate:.2} steps/s");
    }
    if let Some(left) = pace.time_of(all - step).filter(|_| step < all) {
        text += &format!(", {} left", duration(left));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(steps: u32, seconds: u64) -> Pace {
        Pace {
            steps,
            taken: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn the_rest_is_estimated_from_what_was_measured() {
        for (steps, seconds) in [(0, 0), (0, 10), (1, 10), (1000, 2)] {
            assert!(!pace(steps, seconds).is_known(), "{steps} in {seconds} s");
        }
        assert!(pace(2, 3).is_known());
        let text = estimate(pace(10, 4), 19_500).unwrap();
        assert_eq!(
            text,
            "about 2 h 10 min for the 19500 steps left; Ctrl-C saves and stops"
        );
        assert_eq!(estimate(pace(10, 4), 0), None);
        assert_eq!(estimate(pace(0, 0), 10), None);
    }

    #[test]
    fn below_a_minute_lines_count_seconds() {
        assert_eq!(
            line(20, 60, 0.51234, pace(19, 10)),
            "step 20 of 60: loss 0.5123, 1.90 steps/s, 21 s left"
        );
        assert_eq!(line(1, 60, 0.5, pace(0, 0)), "step 1 of 60: loss 0.5000");
        assert_eq!(
            line(60, 60, 0.5, pace(59, 59)),
            "step 60 of 60: loss 0.5000, 1.00 steps/s"
        );
    }
}
