//! What a user should know of pictures that were read from a folder.

use std::fmt::Write;
use std::path::PathBuf;

use super::Split;
use super::folder::{Folder, KEPT};
use super::names::shown;
use super::picture::Square;
use crate::output::counted;

/// Most classes that a notice names.
const NAMED: usize = 12;

impl Folder {
    /// Says what was found in a folder and what was done to it, in lines. `paths`
    /// and `squares` are the pictures that were read and what became of them.
    pub(super) fn notice(
        &self,
        split: Split,
        paths: &[&PathBuf],
        squares: &[Square],
        size: u32,
    ) -> String {
        let (purpose, pictures) = match split {
            Split::Train => ("training", &self.train),
            Split::Test => ("testing", &self.test),
        };
        let mut text = format!(
            "{}: {} for {purpose}",
            shown(&self.path),
            counted(squares.len(), "picture", "pictures"),
        );
        let names = &self.names;
        if names.is_empty() {
            text += ", without classes, since there is no sub-folder for each";
        } else {
            let _ = write!(text, " of {}: ", counted(names.len(), "class", "classes"));
        }
        let numbered = names.iter().zip(pictures).enumerate();
        for (class, (name, pictures)) in numbered.take(NAMED) {
            let comma = if class > 0 { ", " } else { "" };
            let _ = write!(text, "{comma}{class} {name} ({})", pictures.len());
        }
        if let more @ 1.. = names.len().saturating_sub(NAMED) {
            let _ = write!(text, " and {more} more");
        }
        text.push('\n');
        if self.chosen {
            let of = if names.is_empty() { "" } else { " of a class" };
            let _ = writeln!(
                text,
                "  of every {KEPT} pictures{of} one is kept for testing; folders train/ and test/ would say otherwise"
            );
        }
        let resized = squares.iter().filter(|s| s.sides != (size, size));
        let area = |s: &&Square| u64::from(s.sides.0) * u64::from(s.sides.1);
        let least = resized.clone().min_by_key(area);
        if let Some((least, most)) = least.zip(resized.clone().max_by_key(area)) {
            let sides = |(width, height)| format!("{width} x {height}");
            let from = match least.sides == most.sides {
                true => sides(least.sides),
                false => format!("{} to {}", sides(least.sides), sides(most.sides)),
            };
            let count = resized.count();
            let _ = writeln!(text, "  {count} resized to {size} x {size}, from {from}");
        }
        let mut told = |what: &str, is: fn(&Square) -> bool| {
            if let count @ 1.. = squares.iter().filter(|s| is(s)).count() {
                let _ = writeln!(text, "  {count} {what}");
            }
        };
        told("not square: the middle of each is taken", |s| {
            s.sides.0 != s.sides.1
        });
        told("in colour: turned grey", |s| s.coloured);
        told("transparent in parts: laid on white", |s| s.transparent);
        if let Some(blank) = squares.iter().position(Square::is_blank) {
            let count = squares.iter().filter(|s| s.is_blank()).count();
            let _ = writeln!(
                text,
                "  {count} of a single grey, which show nothing: the first is {}",
                shown(paths[blank])
            );
        }
        if let Some(first) = self.left_out.first() {
            let _ = writeln!(
                text,
                "  {} left out, neither a class nor a picture (PNG, JPEG, WebP): the first is {}",
                self.left_out.len(),
                shown(first)
            );
        }
        text
    }
}
