//! Progress of long work on standard error: a bar on a terminal, lines
//! elsewhere.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::duration::duration;

/// Time between two lines.
const BETWEEN_LINES: Duration = Duration::from_secs(30);

/// A bar's style by an indicatif template, in which `{left}` is the time left,
/// as the whole tool writes durations.
///
/// # Errors
/// Where the template is not valid.
pub fn style(template: &str) -> Result<ProgressStyle> {
    let left = |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = out.write_str(&duration(state.eta()));
    };
    Ok(ProgressStyle::with_template(template)?.with_key("left", left))
}

/// The progress of one phase of the work.
///
/// On a terminal it is a bar. Elsewhere it is a line when the phase begins, and
/// another at most every 30 seconds.
#[derive(Debug)]
pub struct Phase {
    bar: ProgressBar,
    /// The last line's time, where there are lines instead of a bar.
    lines: Option<Mutex<Instant>>,
    started: Instant,
}

impl Phase {
    /// Begins a phase of `length` units of work; shows nothing unless `shown`.
    ///
    /// # Errors
    /// Never in practice: the bar's template is a constant.
    pub fn begin(what: impl Into<String>, length: u64, shown: bool) -> Result<Self> {
        let what = what.into();
        let terminal = std::io::stderr().is_terminal();
        let bar = match shown && terminal {
            true => ProgressBar::new(length),
            false => {
                ProgressBar::with_draw_target(Some(length), indicatif::ProgressDrawTarget::hidden())
            }
        };
        bar.set_style(style("{msg:32} {bar:30} {percent}%, {left} left")?);
        bar.set_message(what.clone());
        if shown && terminal {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let started = Instant::now();
        let lines = (shown && !terminal).then(|| {
            eprintln!("{what}");
            Mutex::new(started)
        });
        Ok(Self {
            bar,
            lines,
            started,
        })
    }

    /// Counts work that was done.
    pub fn inc(&self, units: u64) {
        self.bar.inc(units);
        self.line();
    }

    /// Sets how much was done so far.
    pub fn set_position(&self, units: u64) {
        self.bar.set_position(units);
        self.line();
    }

    /// Changes what is said of the phase.
    pub fn set_message(&self, what: String) {
        self.bar.set_message(what);
    }

    /// Ends the phase and takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Prints a line where it is time for one.
    fn line(&self) {
        let Some(lines) = &self.lines else { return };
        // Another thread that prints right now prints the same.
        let Ok(mut last) = lines.try_lock() else {
            return;
        };
        if last.elapsed() < BETWEEN_LINES {
            return;
        }
        *last = Instant::now();
        let length = self.bar.length().unwrap_or(0);
        let done = self.bar.position();
        eprintln!(
            "{}",
            line(&self.bar.message(), done, length, self.started.elapsed())
        );
    }
}

/// `what: 40%, 3 min 20 s left`.
fn line(what: &str, done: u64, length: u64, elapsed: Duration) -> String {
    let (done, length) = (done as f64, length as f64);
    if done <= 0.0 || length <= 0.0 {
        return format!("{what}: {} so far", duration(elapsed));
    }
    let left = elapsed.mul_f64((length - done).max(0.0) / done);
    format!(
        "{what}: {:.0}%, {} left",
        100.0 * done / length,
        duration(left)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_how_much_is_done_and_how_long_the_rest_takes() {
        let minute = Duration::from_secs(60);
        assert_eq!(line("f32", 1, 4, minute), "f32: 25%, 3 min 00 s left");
        assert_eq!(line("f32", 100, 101, minute), "f32: 99%, 0.6 s left");
        assert_eq!(line("f32", 0, 4, minute), "f32: 1 min 00 s so far");
        assert_eq!(line("f32", 4, 4, minute), "f32: 100%, 0.0 s left");
    }

    #[test]
    fn templates_know_the_time_left() {
        style("{bar:30} {left} left").unwrap();
    }
}
