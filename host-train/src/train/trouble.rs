//! What can end a training before its last step, and what to do then.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::config::TrainingConfig;
use crate::network::Backend;
use crate::output::{self, in_shell};

/// Why a training ended early. Whatever was saved before stays.
#[derive(Debug)]
pub enum Trouble {
    /// Something is no longer a number.
    NotANumber {
        /// The step in which it was found, counted from 1.
        step: u32,
        /// What it is, and what it is instead.
        found: String,
    },
    /// Something could not be written or read.
    Files(anyhow::Error),
    /// The backend, or we, panicked: a GPU may be lost.
    Panic {
        /// The step it was in, counted from 1.
        step: u32,
        /// What it said.
        message: String,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber { step, found } => write!(f, "step {step}: {found}"),
            Self::Files(error) => f.write_str(&output::message(error)),
            Self::Panic { step, message } => write!(f, "step {step}: {message}"),
        }
    }
}

impl std::error::Error for Trouble {}

/// What the advice depends on.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The run's folder.
    pub run: &'a Path,
    /// The newest checkpoint's step, if there is one.
    pub saved: Option<u32>,
    /// How it was trained.
    pub training: &'a TrainingConfig,
    /// Where it was computed.
    pub backend: Backend,
    /// The command that goes on with the run.
    pub resume: String,
    /// The same on the CPU.
    pub resume_on_cpu: String,
    /// Options that name the data again.
    pub data: String,
}

impl Trouble {
    /// What is left and what to do, in lines of their own.
    #[must_use]
    pub fn advice(&self, situation: &Situation<'_>) -> String {
        let run = situation.run.display();
        let saved = match situation.saved {
            Some(step) => format!("  saved: step {step}, in {run}\n"),
            None => "  saved: nothing yet, so it will begin anew\n".to_owned(),
        };
        let resume = &situation.resume;
        match self {
            Self::NotANumber { .. } => saved + &different(situation),
            Self::Files(error) => match cure(error) {
                // Where there is no folder, what is in it is not known.
                Cure::Lost(what) => format!("  {what}, then go on with\n    {resume}"),
                Cure::Other(what) => format!("{saved}  {what}, then go on with\n    {resume}"),
            },
            Self::Panic { .. } if situation.backend == Backend::Wgpu => {
                let cpu = &situation.resume_on_cpu;
                format!(
                    "{saved}  Was the GPU lost, reset, or out of memory? When it is back, go on with\n    {resume}\n  or, slower, on the CPU with\n    {cpu}\n  If it was out of memory: a smaller `batch` needs less, in a new run"
                )
            }
            Self::Panic { .. } => format!(
                "{saved}  This is an error in the program: please report the lines above. What is saved goes on with\n    {resume}"
            ),
        }
    }
}

/// Resumed as it is, a run would come to the same again.
fn different(situation: &Situation<'_>) -> String {
    let (run, training) = (situation.run, situation.training);
    let config = in_shell(&run.join("config.toml"));
    let next = in_shell(&with_suffix(run, "-2"));
    let change = format!(
        "a lower learning_rate (it is {}), a lower grad_clip (it is {}) or more warmup_steps (it has {})",
        training.learning_rate, training.grad_clip, training.warmup_steps
    );
    let lower = training.learning_rate / 4.0;
    let data = &situation.data;
    if situation.saved.is_none() {
        return format!(
            "  The same settings would come to the same again. Start with {change}, as with\n    tiny-ddpm train --config {config} --learning-rate {lower} --out {next}{data}"
        );
    }
    let mut text = format!(
        "  The same settings would come to the same again. Write {change} into\n    {}\n  and go on with\n    {}",
        run.join("config.toml").display(),
        situation.resume
    );
    // What has half learned guidance would be its own teacher.
    if training.distill.is_none() {
        text += &format!(
            "\n  or start anew from what is saved, with\n    tiny-ddpm train --from {} --config {config} --learning-rate {lower} --out {next}{data}",
            in_shell(run)
        );
    }
    text
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What a user can do about a file that cannot be written or read.
enum Cure {
    /// The folder cannot be reached.
    Lost(&'static str),
    /// It can.
    Other(&'static str),
}

fn cure(error: &anyhow::Error) -> Cure {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            Cure::Other("The disk is full: free some space")
        }
        Some(ErrorKind::FileTooLarge) => {
            Cure::Other("Files may not become so large here: raise the limit (`ulimit -f`)")
        }
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            Cure::Other("The folder cannot be written to: change its permissions")
        }
        Some(ErrorKind::NotFound | ErrorKind::NotADirectory) => Cure::Lost(
            "The run's folder is gone: bring it back, if it was moved or its drive unplugged",
        ),
        _ => Cure::Other("Mend that"),
    }
}

thread_local! {
    /// Whether a panic of this thread is going to be an error.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// What it said.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Does work in which a backend may panic, as Burn's do where a GPU is lost: the
/// panic's message instead of what the work gives.
///
/// # Errors
/// The message, and where it came from.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    // A panic that becomes an error needs no trace on the screen beside it.
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                return usual(info);
            }
            let at = info.location().map_or(String::new(), |at| {
                let file = Path::new(at.file()).components();
                // The registry's folders say nothing.
                let tail: Vec<_> = file.rev().take(3).collect();
                let tail: PathBuf = tail.into_iter().rev().collect();
                format!(" ({}:{})", tail.display(), at.line())
            });
            SAID.set(Some(message(info.payload()) + &at));
        }));
    });
    GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    let said = SAID.take();
    result.map_err(|payload| said.unwrap_or_else(|| message(&*payload)))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use anyhow::Context;
    use std::io;

    fn advice(trouble: &Trouble, saved: Option<u32>, backend: Backend) -> String {
        let training = Config::preset("smoke").unwrap().training;
        trouble.advice(&Situation {
            run: Path::new("runs/mine"),
            saved,
            training: &training,
            backend,
            resume: format!("tiny-ddpm train --resume runs/mine on {}", backend.name()),
            resume_on_cpu: "tiny-ddpm train --resume runs/mine on flex".to_owned(),
            data: " --data pets".to_owned(),
        })
    }

    fn files(kind: ErrorKind) -> Trouble {
        let error: io::Result<()> = Err(kind.into());
        Trouble::Files(error.context("cannot write it").unwrap_err())
    }

    #[test]
    fn every_advice_ends_in_a_command() {
        let cases = [
            (files(ErrorKind::StorageFull), "disk is full"),
            (files(ErrorKind::QuotaExceeded), "disk is full"),
            (files(ErrorKind::FileTooLarge), "ulimit"),
            (files(ErrorKind::PermissionDenied), "permissions"),
            (files(ErrorKind::ReadOnlyFilesystem), "permissions"),
            (files(ErrorKind::NotFound), "is gone"),
            (files(ErrorKind::Interrupted), "Mend"),
        ];
        for (trouble, words) in cases {
            let text = advice(&trouble, Some(40), Backend::Flex);
            let last = text.lines().last().unwrap();
            assert_eq!(last, "    tiny-ddpm train --resume runs/mine on flex");
            assert!(text.contains(words), "{words}: {text}");
            assert_eq!(
                text.contains("saved: step 40"),
                words != "is gone",
                "{text}"
            );
            assert!(trouble.to_string().starts_with("cannot write it: "));
        }
    }

    #[test]
    fn what_is_no_number_says_what_to_change() {
        let trouble = Trouble::NotANumber {
            step: 41,
            found: "the loss is NaN".to_owned(),
        };
        assert_eq!(trouble.to_string(), "step 41: the loss is NaN");
        let text = advice(&trouble, Some(40), Backend::Flex);
        for words in [
            "step 40",
            "learning_rate (it is 0.00",
            "grad_clip (it is 1)",
            "warmup_steps",
            "runs/mine/config.toml",
            "--resume runs/mine",
            "--from runs/mine --config runs/mine/config.toml --learning-rate 0.00",
            "--out runs/mine-2 --data pets",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let text = advice(&trouble, None, Backend::Flex);
        assert!(
            !text.contains("--from") && !text.contains("--resume"),
            "{text}"
        );
        assert!(text.contains("--config runs/mine/config.toml"), "{text}");
    }

    #[test]
    fn a_lost_gpu_has_two_ways_on() {
        let trouble = Trouble::Panic {
            step: 7,
            message: "Device lost".to_owned(),
        };
        let text = advice(&trouble, Some(5), Backend::Wgpu);
        for words in [
            "--resume runs/mine on wgpu",
            "--resume runs/mine on flex",
            "GPU",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let text = advice(&trouble, Some(5), Backend::Flex);
        assert!(!text.contains("GPU") && text.contains("report"), "{text}");
    }

    #[test]
    fn a_panic_is_an_error_with_its_words() {
        assert_eq!(guarded(|| 3), Ok(3));
        let said = guarded(|| panic!("{} gave up", "wgpu")).map(|(): ()| ());
        let said = said.unwrap_err();
        assert!(
            said.starts_with("wgpu gave up (src/train/trouble.rs:"),
            "{said}"
        );
        // Of another thread, whose payload is handed on.
        let lost = || -> u8 { std::panic::panic_any("lost") };
        let other = || {
            let joined = std::thread::spawn(lost).join();
            joined.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
        };
        assert_eq!(guarded(other), Err("lost".to_owned()));
        assert_eq!(guarded(|| 4), Ok(4));
    }
}
