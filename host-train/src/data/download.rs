//! Data sets from their public mirrors, checked and kept in a cache folder.
//!
//! A file is written under another name, checked and only then renamed: what
//! has its final name is whole.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

use crate::output::{Staged, message};

/// No file of these data sets is larger; a mirror that sends without end stops
/// here.
const MAX_BYTES: u64 = 64 << 20;

/// A public data set: where its gzipped IDX files lie and their SHA-256.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Name on the command line, and of its folder in the cache.
    pub name: &'static str,
    mirrors: &'static [&'static str],
    files: [(&'static str, &'static str); 4],
}

impl Source {
    /// Every data set that can be downloaded.
    pub const ALL: [Self; 2] = [
        Self {
            name: "mnist",
            mirrors: &[
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ],
            files: [
                (
                    "train-images-idx3-ubyte.gz",
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                ),
                (
                    "train-labels-idx1-ubyte.gz",
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                ),
                (
                    "t10k-images-idx3-ubyte.gz",
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                ),
                (
                    "t10k-labels-idx1-ubyte.gz",
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            ],
        },
        Self {
            name: "fashion-mnist",
            mirrors: &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"],
            files: [
                (
                    "train-images-idx3-ubyte.gz",
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                (
                    "train-labels-idx1-ubyte.gz",
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
                (
                    "t10k-images-idx3-ubyte.gz",
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                (
                    "t10k-labels-idx1-ubyte.gz",
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            ],
        },
    ];

    /// The data set called `name`.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn named(name: &str) -> Result<Self> {
        let Some(source) = Self::ALL.into_iter().find(|source| source.name == name) else {
            let known: Vec<&str> = Self::ALL.iter().map(|source| source.name).collect();
            bail!(
                "there is no data set {name:?} to download; there are {}. For files of your own use --data DIR",
                known.join(", ")
            );
        };
        Ok(source)
    }

    /// The folder in `cache` with all files of the data set, downloading those
    /// that are missing.
    ///
    /// # Errors
    /// Where a file can be had from no mirror, or cannot be written.
    pub fn fetch(&self, cache: &Path) -> Result<PathBuf> {
        let folder = cache.join(self.name);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
        for (name, sha256) in self.files {
            let path = folder.join(name);
            if !path.is_file() {
                eprintln!("downloading {name}");
                self.fetch_file(name, sha256, &path)?;
            }
        }
        Ok(folder)
    }

    fn fetch_file(&self, name: &str, sha256: &str, path: &Path) -> Result<()> {
        let mut failures = Vec::new();
        for mirror in self.mirrors {
            let url = format!("{mirror}{name}");
            match get(&url).and_then(|bytes| check(&bytes, sha256).map(|()| bytes)) {
                Ok(bytes) => {
                    let mut staged = Staged::default();
                    staged.add(path, &bytes)?;
                    return staged.publish();
                }
                Err(error) => failures.push(format!("  {url}: {}", message(&error))),
            }
        }
        bail!(
            "cannot download {name}:\n{}\nIf this machine has no web access, fetch the files elsewhere and give their folder with --data DIR",
            failures.join("\n")
        )
    }
}

fn get(url: &str) -> Result<Vec<u8>> {
    let mut response = ureq::get(url).call()?;
    let mut bytes = Vec::new();
    response
        .body_mut()
        .as_reader()
        .take(MAX_BYTES)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check(bytes: &[u8], sha256: &str) -> Result<()> {
    let found = super::hex(&Sha256::digest(bytes));
    ensure!(
        found == sha256,
        "the {} bytes that came have SHA-256 {found}, not {sha256}: cut short or changed",
        bytes.len()
    );
    Ok(())
}

/// Where downloads go unless told otherwise: `tiny-ddpm` in the user's cache
/// folder (XDG).
///
/// # Errors
/// Where the environment names no home.
pub fn default_cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => match std::env::home_dir() {
            Some(home) => home.join(".cache"),
            None => bail!("no home folder is known; say where downloads go with --cache DIR"),
        },
    };
    Ok(base.join("tiny-ddpm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_checksum_is_refused() {
        let sha256 = super::super::hex(&Sha256::digest(b"whole"));
        check(b"whole", &sha256).unwrap();
        let error = check(b"whol", &sha256).unwrap_err().to_string();
        assert!(
            error.contains("4 bytes") && error.contains(&sha256),
            "{error}"
        );
    }

    #[test]
    fn what_is_cached_is_not_fetched_again() {
        let cache = tempfile::tempdir().unwrap();
        let source = Source::named("mnist").unwrap();
        let folder = cache.path().join("mnist");
        std::fs::create_dir(&folder).unwrap();
        for (name, _) in source.files {
            std::fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(source.fetch(cache.path()).unwrap(), folder);
    }

    #[test]
    fn an_unreachable_mirror_says_what_to_do_and_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let source = Source {
            // Nothing listens on port 1.
            mirrors: &["http://127.0.0.1:1/"],
            ..Source::ALL[0]
        };
        let error = source.fetch(cache.path()).unwrap_err().to_string();
        assert!(
            error.contains("--data DIR") && error.contains("127.0.0.1"),
            "{error}"
        );
        let left = std::fs::read_dir(cache.path().join("mnist"))
            .unwrap()
            .count();
        assert_eq!(left, 0);
    }
}
