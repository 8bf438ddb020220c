//! What pages are made of: headings, equations, tables whose columns are stages.

use std::fmt::Write;

use anyhow::Result;

use crate::evaluate::report::STYLE;
use crate::output::{MAP_STYLE, typeset};

/// What the page adds to the look of a report.
pub const MORE_STYLE: &str = "
.equation { margin: 1rem 0; overflow-x: auto; overflow-y: hidden; }
.equation math { font-size: 1.15rem; margin: .6rem 0; }
.strip td { text-align: center; border: 0; padding: .15rem .25rem; font-weight: normal; }
.strip td:first-child { text-align: left; min-width: 6.5rem; white-space: normal; line-height: 1.2; }
.strip .map { width: 6.6rem; max-width: none; }
.strip tr.figures td { font-size: .85rem; }
.strip img, .chain img { width: 3.5rem; height: 3.5rem; max-width: none; display: block; margin: 0 auto; }
.chain figure { margin: 0 .35rem .6rem 0; text-align: center; }
.chain img { margin-bottom: 2px; }
.chain .map { width: 4.6rem; margin-bottom: 2px; }
.map.large { width: 34rem; }
.beside { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem; }
.beside figure { margin: 0; }
.plots figure { margin: 0; }
.glossary td, .glossary th { text-align: left; white-space: normal; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
";

/// The name of a function of `core`, which must be there. What is generic gets
/// its types behind the comma.
macro_rules! named {
    ($($path:ident)::+ $(, $types:ty)*) => {{
        let _ = $($path)::+::<$($types),*>;
        [$(stringify!($path)),+].join("::")
    }};
}
pub(super) use named;

/// A page of this title and body, both HTML, the body with LaTeX between dollar
/// signs.
///
/// # Errors
/// If an equation is not LaTeX.
pub fn document(title: &str, body: &str) -> Result<String> {
    let body = typeset(body)?;
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{title}</title>\n<style>{STYLE}{MAP_STYLE}{MORE_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    ))
}

/// A section's head.
pub fn head(page: &mut String, id: &str, title: &str) {
    let _ = writeln!(page, "<h2 id=\"{id}\">{title}</h2>");
}

pub fn paragraph(page: &mut String, text: &str) {
    let _ = writeln!(page, "<p>{text}</p>");
}

/// One or more equations, each between `$$` and `$$`, below each other.
pub fn equation(page: &mut String, latex: &str) {
    let _ = writeln!(page, "<div class=\"equation\">{latex}</div>");
}

/// Where it is computed.
pub fn computed_by(page: &mut String, names: &[String]) {
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("<code>{name}</code>"))
        .collect();
    let _ = writeln!(
        page,
        "<p class=\"note\">Computed by {}.</p>",
        names.join(", ")
    );
}

/// `most` of `count` places, evenly spread, the first among them; all, where
/// there are fewer.
pub fn spread(count: usize, most: usize) -> Vec<usize> {
    let shown = count.min(most);
    (0..shown).map(|place| place * count / shown).collect()
}

/// A table whose columns are stages.
pub struct Strip(String);

impl Strip {
    pub fn new() -> Self {
        Self(String::new())
    }

    /// A row of pictures or plots.
    pub fn row(&mut self, name: &str, cells: impl Iterator<Item = String>) {
        self.line("", name, cells);
    }

    /// A row of numbers.
    pub fn figures(&mut self, name: &str, values: impl Iterator<Item = String>) {
        self.line(" class=\"figures\"", name, values);
    }

    fn line(&mut self, kind: &str, name: &str, cells: impl Iterator<Item = String>) {
        let _ = write!(self.0, "<tr{kind}><td>{name}</td>");
        for cell in cells {
            let _ = write!(self.0, "<td>{cell}</td>");
        }
        self.0 += "</tr>\n";
    }

    pub fn end(self, page: &mut String) {
        let _ = write!(
            page,
            "<div class=\"scroll\"><table class=\"strip\">\n{}</table></div>\n",
            self.0
        );
    }
}

/// What a row's name says in words, without the symbol behind it.
pub fn in_words(name: &str) -> &str {
    name.split_once(", $").map_or(name, |(words, _)| words)
}

/// About three digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.001 => format!("{value:.0e}"),
        size if size < 0.1 => format!("{value:.4}"),
        _ => format!("{value:.3}"),
    }
}

pub fn decibels(ratio: f64) -> String {
    match ratio.is_finite() {
        // Adding 0 makes 0 of -0.
        true => format!("{:.1}", (100.0 * ratio.log10()).round() / 10.0 + 0.0),
        false => "∞".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_spread() {
        assert_eq!(spread(3, 8), [0, 1, 2]);
        assert_eq!(spread(20, 4), [0, 5, 10, 15]);
        assert_eq!(spread(1000, 60).len(), 60);
        assert_eq!(spread(0, 5), [0; 0]);
    }

    #[test]
    fn figures_are_short() {
        let shown = [0.0, 1.0, 0.49271, 0.03141, 0.00012, -0.2].map(number);
        assert_eq!(shown, ["0", "1.000", "0.493", "0.0314", "1e-4", "-0.200"]);
        let shown = [1.0, 0.999, 100.0, 0.01, f64::INFINITY].map(decibels);
        assert_eq!(shown, ["0.0", "0.0", "20.0", "-20.0", "∞"]);
    }
}
