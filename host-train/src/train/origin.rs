//! Where a run's pictures come from, kept in its folder: `--resume` and
//! `evaluate` then need no `--data`.
//!
//! It is no part of `config.toml`, because that is published with a model, and
//! a path on one computer is of no use to another.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::data::DataArgs;
use crate::output::Staged;

/// The file in a run's folder.
const FILE: &str = "data.json";

/// A folder of the user's own, or a data set that was downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Origin {
    /// The absolute path of a folder with pictures.
    Folder(String),
    /// A data set by its name, where that was given, and where it was put, if
    /// not in the usual place.
    Dataset {
        /// Of `--dataset`; the default one where there is none.
        name: Option<String>,
        /// The absolute path of `--cache`.
        cache: Option<String>,
    },
}

impl Origin {
    /// What the command line says; `None` for a path that is not UTF-8, which the
    /// file cannot hold.
    ///
    /// # Errors
    /// Where the working folder is not known.
    pub fn of(data: &DataArgs, cache: Option<&Path>) -> Result<Option<Self>> {
        let absolute = |path: &Path| -> Result<Option<String>> {
            let path = std::path::absolute(path)
                .with_context(|| format!("cannot find {}", path.display()))?;
            Ok(path.into_os_string().into_string().ok())
        };
        if let Some(folder) = &data.data {
            return Ok(absolute(folder)?.map(Self::Folder));
        }
        let cache = match cache {
            Some(cache) => match absolute(cache)? {
                Some(cache) => Some(cache),
                None => return Ok(None),
            },
            None => None,
        };
        let name = data.dataset.clone();
        Ok(Some(Self::Dataset { name, cache }))
    }

    /// What a run remembers; `None` of one from before runs remembered it, or
    /// that was published.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn load(run: &Path) -> Result<Option<Self>> {
        let path = run.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let origin = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} does not say where the data is: remove it, and name the folder with --data",
                path.display()
            )
        })?;
        Ok(Some(origin))
    }

    /// Writes it into a run's folder.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn save(&self, run: &Path) -> Result<()> {
        let mut staged = Staged::default();
        let text = serde_json::to_string_pretty(self)? + "\n";
        staged.add(run.join(FILE), text.as_bytes())?;
        staged.publish()
    }

    /// Says on a command line where the data of the run in `run` is.
    ///
    /// # Errors
    /// Where the folder is not there any more.
    pub fn fill(self, run: &Path, data: &mut DataArgs, cache: &mut Option<PathBuf>) -> Result<()> {
        match self {
            Self::Folder(folder) => {
                ensure!(
                    Path::new(&folder).is_dir(),
                    "{} was trained on the pictures in {folder}, which is not there any more: name the folder with --data DIR",
                    run.display()
                );
                data.data = Some(folder.into());
            }
            Self::Dataset {
                name,
                cache: remembered,
            } => {
                data.dataset = name;
                let remembered = remembered.map(PathBuf::from).filter(|path| path.is_dir());
                if cache.is_none() {
                    *cache = remembered;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(data: Option<&str>, dataset: Option<&str>) -> DataArgs {
        DataArgs {
            data: data.map(PathBuf::from),
            dataset: dataset.map(str::to_owned),
        }
    }

    #[test]
    fn what_was_written_is_read_and_fills_the_command_line() {
        let run = tempfile::tempdir().unwrap();
        let run = run.path();
        assert_eq!(Origin::load(run).unwrap(), None);

        let pets = run.join("pets");
        std::fs::create_dir(&pets).unwrap();
        let asked = args(pets.to_str(), None);
        let origin = Origin::of(&asked, None).unwrap().unwrap();
        origin.save(run).unwrap();
        assert_eq!(Origin::load(run).unwrap().as_ref(), Some(&origin));
        let (mut data, mut cache) = (args(None, None), None);
        origin.clone().fill(run, &mut data, &mut cache).unwrap();
        assert_eq!((data.data.as_ref(), cache.as_ref()), (Some(&pets), None));
        std::fs::remove_dir(&pets).unwrap();
        let error = origin.fill(run, &mut data, &mut cache).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("pets, which is not there any more") && error.contains("--data DIR"),
            "{error}"
        );

        // A relative path is of no use in another folder.
        let relative = Origin::of(&args(Some("pets"), None), None).unwrap();
        let Some(Origin::Folder(path)) = relative else {
            panic!("{relative:?}");
        };
        assert!(Path::new(&path).is_absolute() && path.ends_with("pets"));

        // A data set goes into the cache that it came from, if that still exists.
        let origin = Origin::of(&args(None, Some("kmnist")), Some(run)).unwrap();
        let (mut data, mut cache) = (args(None, None), None);
        origin.unwrap().fill(run, &mut data, &mut cache).unwrap();
        assert_eq!(data.dataset.as_deref(), Some("kmnist"));
        assert_eq!(cache.as_deref(), Some(run));
        let origin = Origin::of(&args(None, None), Some(&run.join("gone"))).unwrap();
        let (mut data, mut cache) = (args(None, None), None);
        origin.unwrap().fill(run, &mut data, &mut cache).unwrap();
        assert!(data.is_default() && cache.is_none());

        std::fs::write(run.join(FILE), "{\"folder\": 3}").unwrap();
        let error = format!("{:#}", Origin::load(run).unwrap_err());
        assert!(error.contains(FILE) && error.contains("--data"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_json_cannot_hold_is_not_remembered() {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::OsStr::from_bytes(b"caf\xe9");
        let asked = DataArgs {
            data: Some(path.into()),
            dataset: None,
        };
        assert_eq!(Origin::of(&asked, None).unwrap(), None);
    }
}
