//! Public data sets in IDX files: what their files are called, how they store
//! pictures and labels, and where they can be downloaded.

use anyhow::{Result, bail};

use super::Split;

/// A public data set. Everything that tells it from others is here.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Name on the command line, and of its folder in the cache.
    pub name: &'static str,
    /// What the names of its files begin with, for training and for testing.
    pub prefixes: [&'static str; 2],
    /// What the names of its files with labels end with.
    pub labels: &'static str,
    /// Whether pictures are stored column by column.
    pub transposed: bool,
    /// The label of the first class.
    pub first_label: u8,
    /// A character for each class; empty where the files' names, which other
    /// data sets share, do not tell what the classes are.
    pub symbols: &'static str,
    /// Where it can be downloaded.
    pub origin: Origin,
}

/// Where a data set can be downloaded. Checksums are SHA-256, in hexadecimal.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// Its four files, gzipped, each behind the address of a mirror.
    Files {
        /// Addresses, which end with a slash.
        mirrors: &'static [&'static str],
        /// Checksums in the order of [`Known::file_names`].
        sha256: [&'static str; 4],
    },
    /// A ZIP archive that holds them, gzipped.
    Archive {
        /// Its address.
        url: &'static str,
        /// Its checksum.
        sha256: &'static str,
        /// The folder in it, which ends with a slash.
        folder: &'static str,
    },
}

const DIGITS: &str = "0123456789";
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
/// Digits and capitals, and the small letters that do not look like them.
const MERGED: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt";
const BY_CLASS: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A data set with the file names of MNIST.
const fn like_mnist(
    name: &'static str,
    mirrors: &'static [&'static str],
    sha256: [&'static str; 4],
) -> Known {
    Known {
        name,
        prefixes: ["train", "t10k"],
        labels: "labels-idx1-ubyte",
        transposed: false,
        first_label: 0,
        symbols: "",
        origin: Origin::Files { mirrors, sha256 },
    }
}

/// A part of EMNIST (Cohen et al. 2017, arXiv:1702.05373). Its files store
/// pictures column by column.
const fn emnist(
    name: &'static str,
    prefixes: [&'static str; 2],
    first_label: u8,
    symbols: &'static str,
) -> Known {
    Known {
        name,
        prefixes,
        labels: "labels-idx1-ubyte",
        transposed: true,
        first_label,
        symbols,
        // All parts are in one archive of 562 MB.
        origin: Origin::Archive {
            url: "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
            sha256: "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
            folder: "gzip/",
        },
    }
}

/// Every data set. Of those with the same file names, files in a folder are
/// taken for the first.
///
/// The checksums of MNIST and Fashion-MNIST are those of the files that their
/// mirrors had; of KMNIST, QMNIST and EMNIST those that TensorFlow Datasets
/// publishes (`tensorflow_datasets/url_checksums`).
pub const KNOWN: [Known; 10] = [
    like_mnist(
        "mnist",
        &[
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ],
        [
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ],
    ),
    like_mnist(
        "fashion-mnist",
        &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"],
        [
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ],
    ),
    like_mnist(
        "kmnist",
        &["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"],
        [
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ],
    ),
    // Labels are tables of 32-bit integers, the class in their first column
    // (Yadav and Bottou 2019, arXiv:1905.10498).
    Known {
        name: "qmnist",
        prefixes: ["qmnist-train", "qmnist-test"],
        labels: "labels-idx2-int",
        transposed: false,
        first_label: 0,
        symbols: DIGITS,
        origin: Origin::Files {
            mirrors: &["https://raw.githubusercontent.com/facebookresearch/qmnist/master/"],
            sha256: [
                "9e26a7bf1683614e065d7b76460ccd52807165b3f22561fb782bd9f38c52b51d",
                "2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f",
                "43fc22bf7498b8fc98de98369d72f752d0deabc280a43a7bcc364ab19e57b375",
                "9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06",
            ],
        },
    },
    emnist(
        "emnist-letters",
        ["emnist-letters-train", "emnist-letters-test"],
        1,
        LETTERS,
    ),
    emnist(
        "emnist-digits",
        ["emnist-digits-train", "emnist-digits-test"],
        0,
        DIGITS,
    ),
    emnist(
        "emnist-balanced",
        ["emnist-balanced-train", "emnist-balanced-test"],
        0,
        MERGED,
    ),
    emnist(
        "emnist-bymerge",
        ["emnist-bymerge-train", "emnist-bymerge-test"],
        0,
        MERGED,
    ),
    emnist(
        "emnist-byclass",
        ["emnist-byclass-train", "emnist-byclass-test"],
        0,
        BY_CLASS,
    ),
    emnist(
        "emnist-mnist",
        ["emnist-mnist-train", "emnist-mnist-test"],
        0,
        DIGITS,
    ),
];

impl Known {
    /// The data set called `name`.
    ///
    /// # Errors
    /// Where there is none of that name.
    pub fn named(name: &str) -> Result<Self> {
        let Some(known) = KNOWN.into_iter().find(|known| known.name == name) else {
            let names: Vec<&str> = KNOWN.iter().map(|known| known.name).collect();
            bail!(
                "there is no data set {name:?} to download; there are {}. For files of your own use --data DIR",
                names.join(", ")
            );
        };
        Ok(known)
    }

    /// The names of its four files, not gzipped: pictures and labels for
    /// training, then for testing.
    #[must_use]
    pub fn file_names(&self) -> [String; 4] {
        let [train, test] = self.prefixes;
        let images = |prefix: &str| format!("{prefix}-images-idx3-ubyte");
        let labels = |prefix: &str| format!("{prefix}-{}", self.labels);
        [images(train), labels(train), images(test), labels(test)]
    }

    /// Where the pictures and the labels of a half are in
    /// [`file_names`](Self::file_names).
    #[must_use]
    pub fn places(split: Split) -> [usize; 2] {
        match split {
            Split::Train => [0, 1],
            Split::Test => [2, 3],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_data_set_is_described_soundly() {
        for known in KNOWN {
            assert_eq!(Known::named(known.name).unwrap().name, known.name);
            let sums = match known.origin {
                Origin::Files { sha256, mirrors } => {
                    assert!(mirrors.iter().all(|mirror| mirror.ends_with('/')));
                    sha256.to_vec()
                }
                Origin::Archive { sha256, folder, .. } => {
                    assert!(folder.ends_with('/'));
                    vec![sha256]
                }
            };
            for sum in sums {
                assert!(sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()));
            }
            let mut symbols: Vec<char> = known.symbols.chars().collect();
            let count = symbols.len();
            symbols.sort_unstable();
            symbols.dedup();
            assert_eq!(symbols.len(), count);
        }
        let error = Known::named("letters").unwrap_err().to_string();
        assert!(
            error.contains("emnist-letters") && error.contains("--data"),
            "{error}"
        );
    }

    #[test]
    fn numbers_of_classes_as_published() {
        for (name, classes) in [
            ("emnist-letters", 26),
            ("emnist-digits", 10),
            ("emnist-balanced", 47),
            ("emnist-bymerge", 47),
            ("emnist-byclass", 62),
            ("emnist-mnist", 10),
            ("qmnist", 10),
        ] {
            assert_eq!(Known::named(name).unwrap().symbols.len(), classes, "{name}");
        }
    }
}
