//! Equations in HTML pages, as MathML.

use anyhow::{Result, anyhow, ensure};
use math_core::{LatexToMathML, MathCoreConfig, MathDisplay};

/// Replaces the LaTeX in HTML by MathML: `$...$` within a line, `$$...$$` in a
/// block of its own.
///
/// Other dollar signs must be written `&#36;`, as `escaped` does.
///
/// # Errors
/// If a `$` has no partner, or an equation is not LaTeX.
pub fn typeset(html: &str) -> Result<String> {
    let converter =
        LatexToMathML::new(MathCoreConfig::default()).map_err(|error| anyhow!("{error:?}"))?;
    let convert = |latex: &str, display| {
        let converted = converter.convert_with_local_state(latex, display);
        let converted = converted.map_err(|error| anyhow!("cannot typeset `{latex}`: {error}"))?;
        Ok::<_, anyhow::Error>(converted.mathml)
    };
    let mut page = String::with_capacity(html.len());
    let blocks: Vec<&str> = html.split("$$").collect();
    ensure!(blocks.len() % 2 == 1, "a `$$` has no partner");
    for (index, block) in blocks.into_iter().enumerate() {
        if index % 2 == 1 {
            page += &convert(block, MathDisplay::Block)?;
            continue;
        }
        let parts: Vec<&str> = block.split('$').collect();
        ensure!(parts.len() % 2 == 1, "a `$` has no partner");
        for (index, part) in parts.into_iter().enumerate() {
            match index % 2 {
                0 => page += part,
                _ => page += &convert(part, MathDisplay::Inline)?,
            }
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_are_elements_of_their_own() {
        let page = typeset(r"<p>$\tilde\beta_t$ &#36;5</p>").unwrap();
        let tilde = "<mover accent=\"true\"><mi>β</mi><mo stretchy=\"false\">˜</mo></mover>";
        assert_eq!(
            page,
            format!("<p><math><msub>{tilde}<mi>t</mi></msub></math> &#36;5</p>")
        );
        let block = typeset("$$x$$ and $y$").unwrap();
        assert_eq!(
            block,
            "<math display=\"block\"><mi>x</mi></math> and <math><mi>y</mi></math>"
        );
        assert_eq!(typeset("<p>text</p>").unwrap(), "<p>text</p>");
    }

    #[test]
    fn mistakes_are_errors() {
        for wrong in ["$x", "$$x", "$$x$", r"$\frac{$", r"$\unknown$"] {
            assert!(typeset(wrong).is_err(), "{wrong}");
        }
    }
}
