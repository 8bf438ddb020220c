//! Where pictures come from, on the command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::{Known, fetch};
use crate::output::in_shell;

/// What is downloaded where nothing is named.
const DEFAULT: &str = "mnist";

/// A folder, or what to download in its place.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// A folder with IDX files (raw or .gz), training and test pictures, or with
    /// a sub-folder of pictures (PNG, JPEG, WebP) for each class; without it
    /// MNIST is downloaded
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// What to download: mnist, fashion-mnist, kmnist, qmnist, or of EMNIST (562
    /// MB at once) emnist-letters, emnist-digits, emnist-balanced,
    /// emnist-bymerge, emnist-byclass or emnist-mnist [default: mnist]
    #[arg(long, value_name = "NAME", conflicts_with = "data")]
    pub dataset: Option<String>,
}

impl DataArgs {
    /// The folder with the data; `cache` says where downloads are kept.
    ///
    /// # Errors
    /// Where there is no such data set, or it cannot be downloaded.
    pub fn folder(&self, cache: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
        match &self.data {
            Some(folder) => Ok(folder.clone()),
            None => {
                let name = self.dataset.as_deref().unwrap_or(DEFAULT);
                let known = Known::named(name)?;
                fetch(&known, &cache()?)
            }
        }
    }

    /// What names the same data again, to be put behind a command.
    #[must_use]
    pub fn again(&self) -> String {
        match &self.data {
            Some(folder) => format!(" --data {}", in_shell(folder)),
            None => match &self.dataset {
                Some(name) => format!(" --dataset {name}"),
                None => String::new(),
            },
        }
    }

    /// Whether nothing was said of data.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.data.is_none() && self.dataset.is_none()
    }
}
