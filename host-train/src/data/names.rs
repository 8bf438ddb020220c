//! Names of files and folders: when two are the same, which comes first, and
//! how they are shown.

use std::cmp::Ordering;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use unicode_normalization::UnicodeNormalization;

use crate::output::escaped;

/// A file's name, which two files with names that people call the same share:
/// Unicode in composed form (NFC), since macOS and archives made there have
/// `é` as two characters. Other bytes are kept as they are.
#[derive(Clone, Debug)]
pub struct Name {
    name: OsString,
    shown: String,
}

impl Name {
    /// The name of the last part of a path.
    pub fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default();
        let name = match name.to_str() {
            Some(text) => text.nfc().collect::<String>().into(),
            None => name.to_owned(),
        };
        let shown = escaped(&name);
        Self { name, shown }
    }

    /// As text without control characters; different names give different texts.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// In lower case as far as it is ASCII, to compare it with known names.
    pub fn lower(&self) -> String {
        self.shown.to_ascii_lowercase()
    }

    /// Compares names, and numbers within them by their value.
    pub fn order(&self, other: &Self) -> Ordering {
        in_order(&self.shown, &other.shown)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// A path for messages.
pub fn shown(path: &Path) -> String {
    escaped(path.as_os_str())
}

/// A file's name with all that is not ASCII in numbers: tells apart what looks
/// the same.
pub fn in_numbers(path: &Path) -> String {
    let name: &OsStr = path.file_name().unwrap_or_default();
    escaped(name).escape_default().to_string()
}

/// Compares names, and numbers within them by their value.
fn in_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let numbers = (split_number(left), split_number(right));
        if let (Some((one, rest)), Some((other, others))) = numbers {
            // Of two numbers without leading zeros the longer is the larger.
            let (x, y) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order.is_ne() {
                return order;
            }
            (left, right) = (rest, others);
            continue;
        }
        let (mut one, mut other) = (left.chars(), right.chars());
        match (one.next(), other.next()) {
            // As numbers alike: `01` and `1`.
            (None, None) => return a.cmp(b),
            (one, other) if one != other => return one.cmp(&other),
            _ => (left, right) = (one.as_str(), other.as_str()),
        }
    }
}

/// The number that a text begins with, and what follows it.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let end = end.unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_an_order_that_people_expect() {
        let sorted = [
            "", "0", "1", "01", "2", "9", "10", "010", "100", "a", "a1", "a2b9", "a2b10", "a10",
            "b", "é", "ü9", "ü10",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                // Numbers of equal value go by their text.
                if split_number(a).is_none() || a.trim_matches('0') != b.trim_matches('0') {
                    assert_eq!(in_order(a, b), i.cmp(&j), "{a:?} and {b:?}");
                }
                assert_eq!(in_order(a, b), in_order(b, a).reverse());
            }
        }
        let long = "9".repeat(100);
        assert_eq!(in_order(&long, &format!("1{long}")), Ordering::Less);
    }

    #[test]
    fn composed_and_decomposed_unicode_are_the_same_name() {
        let [composed, decomposed] = ["train/caf\u{e9}", "test/cafe\u{301}"].map(Path::new);
        assert_eq!(Name::of(composed), Name::of(decomposed));
        assert_eq!(Name::of(decomposed).shown(), "caf\u{e9}");
        assert_eq!(in_numbers(composed), r"caf\u{e9}");
        assert_eq!(in_numbers(decomposed), r"cafe\u{301}");
    }
}
