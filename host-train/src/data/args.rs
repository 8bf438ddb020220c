//! Where pictures come from, on the command line.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::Source;

/// A folder, or what to download in its place.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// A folder with IDX files (raw or .gz), training and test pictures, or with
    /// a sub-folder of PNGs for each class; without it MNIST is downloaded
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// What to download: mnist or fashion-mnist
    #[arg(
        long,
        value_name = "NAME",
        default_value = "mnist",
        conflicts_with = "data"
    )]
    pub dataset: String,
}

impl DataArgs {
    /// The folder with the data; `cache` says where downloads are kept.
    ///
    /// # Errors
    /// Where there is no such data set, or it cannot be downloaded.
    pub fn folder(&self, cache: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
        match &self.data {
            Some(folder) => Ok(folder.clone()),
            None => Source::named(&self.dataset)?.fetch(&cache()?),
        }
    }

    /// What names the same data again, to be put behind a command.
    #[must_use]
    pub fn again(&self) -> String {
        match &self.data {
            Some(folder) => format!(" --data {}", folder.display()),
            None if self.dataset != "mnist" => format!(" --dataset {}", self.dataset),
            None => String::new(),
        }
    }
}
