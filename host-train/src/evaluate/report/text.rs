//! The terminal's text.

use std::fmt::Write;

use super::super::Evaluation;
use super::super::results::Warning;
use super::{FLOOR, TEST, percent, table};
use crate::generate::describe;

/// What is going to be measured.
#[must_use]
pub fn heading(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    for model in &evaluation.models {
        let name = model.name.as_ref();
        let name = name.map_or_else(String::new, |name| format!(" {name}"));
        let _ = writeln!(text, "{}{name} ({})", model.numbers, model.path);
    }
    let settings = &evaluation.settings;
    let steps: Vec<String> = settings.steps.iter().map(u16::to_string).collect();
    if settings.shown_steps == 0 {
        let _ = writeln!(text, "{} pictures\n", settings.count);
        return text;
    }
    let _ = writeln!(
        text,
        "{} pictures in {} steps, {}, guidance {}, seed {}\n",
        settings.count,
        steps.join(", "),
        describe(settings.sampler, settings.spacing, settings.eta),
        settings.guidance,
        settings.seed
    );
    text
}

/// What was found.
#[must_use]
pub fn conclusion(evaluation: &Evaluation) -> String {
    let mut text = aligned(&table(evaluation));
    let real = &evaluation.real;
    let _ = writeln!(
        text,
        "every row against {0} training pictures drawn at random; {TEST}: {1} pictures, for the reading all {2}; {FLOOR}: {0} others, the floor",
        real.count, real.test.count, evaluation.data.test
    );
    for warning in &evaluation.warnings {
        let _ = writeln!(text, "\nwarning: {}: {}", set_name(warning), warning.text);
    }
    let shown = evaluation.settings.shown_steps;
    for set in &evaluation.sets {
        let Some(accuracy) = &set.accuracy else {
            continue;
        };
        if set.steps != shown {
            continue;
        }
        let steps = match shown {
            0 => String::new(),
            steps => format!(", {steps} steps"),
        };
        let _ = write!(text, "\n{} by class{steps}:", set.model);
        for (class, share) in accuracy.classes.iter().enumerate() {
            if let Some(share) = share {
                let _ = write!(
                    text,
                    "  {}: {}",
                    evaluation.data.class(class),
                    percent(*share)
                );
            }
        }
        text.push('\n');
    }
    for found in &evaluation.neighbours {
        let (generated, test) = (&found.generated_distances, &found.test_distances);
        let _ = writeln!(
            text,
            "\n{}, nearest training picture: {:.1} grey values away, at least {:.1}\n  test pictures: {:.1}, at least {:.1}",
            found.model, generated.median, generated.least, test.median, test.least
        );
    }
    for bound in &evaluation.bounds {
        let error = bound.standard_error;
        let error = error.map_or_else(String::new, |error| format!(" ± {error:.4}"));
        let _ = writeln!(
            text,
            "\n{}, variational bound with variance {}: {:.4}{error} bits per dimension\n  L_T {:.5}, sum of L_{{t-1}} {:.4}, L_0 {:.4}; {} test picture{}",
            bound.model,
            bound.variance,
            bound.total,
            bound.prior,
            bound.diffusion,
            bound.decoder,
            bound.pictures,
            if bound.pictures == 1 { "" } else { "s" }
        );
    }
    for difference in &evaluation.differences {
        let _ = writeln!(
            text,
            "\nfrom the same noise in {} steps: {:.2} of 255 grey values apart, at most {:.2} over a picture",
            difference.steps, difference.mean, difference.worst
        );
    }
    text
}

/// The set that a warning is of.
fn set_name(warning: &Warning) -> String {
    match warning.steps {
        0 => warning.model.to_owned(),
        steps => format!("{} in {steps} steps", warning.model),
    }
}

/// Columns to the right but the first.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|i| {
            let lengths = rows.iter().map(|row| row[i].chars().count());
            lengths.max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        for (index, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = match index {
                0 => write!(text, "{cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::results::tests::example;
    use super::*;

    #[test]
    fn everything_is_printed() {
        let text = heading(&example()) + &conclusion(&example());
        for word in [
            "20 pictures in 50, 20 steps, ddim, eta 0",
            "98.70%",
            "99.41%",
            "0.250",
            "2: -",
            "at least 20.0",
            "1.3004 ± 0.0200",
            "1.25 of 255",
            "warning: int8 in 20 steps: too <good>",
            "0.375",
        ] {
            let missing = word == "2: -";
            assert_eq!(text.contains(word), !missing, "{word}:\n{text}");
        }
        let lines: Vec<&str> = text.lines().filter(|l| l.contains("  4.000  ")).collect();
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["a", "steps"], ["real", "5"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), "a     steps\nreal      5\n");
    }
}
