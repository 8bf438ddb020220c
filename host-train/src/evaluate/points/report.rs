//! What was found of points, for people.

use std::fmt::Write;

use anyhow::Result;

use super::super::report::{STYLE, escaped, list, row_of};
use super::plot::{map, paths};
use super::results::{Gallery, PointsEvaluation};
use crate::output::{MAP_STYLE, typeset};

const HEAD: [&str; 8] = [
    "points",
    "sampler",
    "steps",
    "runs",
    "energy distance",
    "times the floor",
    "off the curve",
    "seconds",
];
const MORE_STYLE: &str = "
td:nth-child(2), th:nth-child(2) { text-align: left; }
";

/// The table: its head, the sets, and what real points get.
fn rows(evaluation: &PointsEvaluation) -> Vec<Vec<String>> {
    let floor = evaluation.data.energy;
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for set in &evaluation.sets {
        rows.push(vec![
            set.model.to_owned(),
            set.sampler.clone(),
            set.steps.to_string(),
            set.evaluations.to_string(),
            format!("{:.6}", set.energy),
            format!("{:.2}", set.energy / floor),
            format!("{:.4}", set.off_curve),
            format!("{:.1}", set.seconds),
        ]);
    }
    let real = |name: &str, energy: f64, off_curve: String| {
        let dash = || "-".to_owned();
        vec![
            name.to_owned(),
            dash(),
            dash(),
            dash(),
            format!("{energy:.6}"),
            format!("{:.2}", energy / floor),
            off_curve,
            dash(),
        ]
    };
    let data = &evaluation.data;
    rows.push(real(
        "real, training",
        floor,
        format!("{:.4}", data.off_curve),
    ));
    rows.push(real("noise", data.energy_of_noise, "-".to_owned()));
    rows
}

/// The rows that are not sets, at the table's end.
const REAL_ROWS: usize = 2;

/// What was found, for the terminal.
#[must_use]
pub fn conclusion(evaluation: &PointsEvaluation) -> String {
    let rows = rows(evaluation);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = format!(
        "{}, {} points a set, {} spacing, seed {}\n\n",
        evaluation.data.name, evaluation.data.count, evaluation.spacing, evaluation.seed
    );
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let line: Vec<String> = cells
            .map(|(column, (cell, &width))| match column {
                0 | 1 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        let _ = writeln!(text, "{}", line.join("  ").trim_end());
    }
    text
}

/// The whole report as one file.
///
/// # Errors
/// If an equation cannot be typeset.
pub fn html(evaluation: &PointsEvaluation, gallery: &Gallery) -> Result<String> {
    let title = match evaluation.models.first() {
        Some(model) => model.name.as_ref().unwrap_or(&model.path),
        None => "a model",
    };
    let title = format!("How good is {}?", escaped(title));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{title}</title>\n<style>{STYLE}{MAP_STYLE}{MORE_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<ul>\n"
    );
    list(&mut page, &evaluation.models);
    let data = &evaluation.data;
    let _ = write!(
        page,
        "<li>{} points a set, {} spacing of timesteps, seed {}</li>\n<li>data: {}</li>\n</ul>\n<h2>Quality</h2>\n<div class=\"scroll\"><table>\n",
        data.count, evaluation.spacing, evaluation.seed, data.name
    );
    let rows = rows(evaluation);
    for (index, row) in rows.iter().enumerate() {
        let (tag, kind) = match index {
            0 => ("th", ""),
            _ if index + REAL_ROWS >= rows.len() => ("td", " class=\"real\""),
            _ => ("td", ""),
        };
        row_of(&mut page, tag, kind, row);
    }
    page += "</table></div>\n<p class=\"note\">The energy distance (Székely &amp; Rizzo) from held-out points, which no network saw: 0 would be the same distribution, and the floor is what as many training points get by chance. Off the curve: root mean square distance from the curve that the data lies around, so of real points the deviation of their noise.</p>\n";

    page += "<h2>From data to noise</h2>\n";
    for panel in &gallery.forward {
        figure(&mut page, &map(panel, true), &panel.caption);
    }
    page += "<p class=\"note\">$x_t = \\sqrt{\\bar\\alpha_t}\\,x_0 + \\sqrt{1 - \\bar\\alpha_t}\\,\\varepsilon$ of held-out points; the colour is each one's place along the curve at $t = 0$.</p>\n";
    for (model, panels) in &gallery.samples {
        let _ = writeln!(page, "<h2>What every sampler draws, {model}</h2>");
        for panel in panels {
            figure(&mut page, &map(panel, false), &panel.caption);
        }
    }
    page += "<p class=\"note\">The colour is the nearest place along the curve.</p>\n";
    if let Some(trajectories) = &gallery.trajectories {
        let _ = write!(
            page,
            "<h2>The probability flow</h2>\n{}<p class=\"note\">{} points from noise to data in {} steps of DDIM without noise (eta 0), {}: no randomness, so paths do not cross. The colour is where each ends.</p>\n",
            paths(trajectories).replacen("\"map\"", "\"map large\"", 1),
            trajectories.paths.len(),
            trajectories.steps,
            trajectories.model
        );
    }
    typeset(&(page + "</body>\n</html>\n"))
}

fn figure(page: &mut String, svg: &str, caption: &str) {
    let _ = writeln!(
        page,
        "<figure>{svg}<figcaption>{}</figcaption></figure>",
        escaped(caption)
    );
}

#[cfg(test)]
mod tests {
    use super::super::super::results::ModelFacts;
    use super::super::results::{Facts, Panel, SetResult, Trajectories};
    use super::*;
    use crate::output::well_set;
    use crate::points::Points;

    fn evaluation() -> PointsEvaluation {
        PointsEvaluation {
            format: 1,
            data: Facts {
                name: "Swiss roll",
                count: 500,
                energy: 0.002,
                off_curve: 0.0067,
                energy_of_noise: 0.3,
            },
            seed: 4,
            spacing: "trailing",
            models: vec![ModelFacts {
                numbers: "int8",
                path: "a<b.tddpm".to_owned(),
                name: None,
                sha256: Some("beef".to_owned()),
            }],
            sets: vec![SetResult {
                model: "int8",
                sampler: "ddim".to_owned(),
                steps: 50,
                evaluations: 50,
                energy: 0.003,
                off_curve: 0.0123,
                seconds: 1.25,
            }],
        }
    }

    #[test]
    fn every_distance_stands_beside_its_floor() {
        let text = conclusion(&evaluation());
        let set = text.lines().find(|line| line.contains("ddim")).unwrap();
        let words: Vec<&str> = set.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "int8", "ddim", "50", "50", "0.003000", "1.50", "0.0123", "1.2"
            ]
        );
        let floor = text.lines().find(|line| line.contains("training")).unwrap();
        assert!(
            floor.contains("0.002000") && floor.contains("1.00"),
            "{floor}"
        );
        assert!(text.contains("150.00"), "{text}");
    }

    #[test]
    fn the_page_has_all_of_it_and_needs_nothing_else() {
        let points = Points {
            values: 2,
            x: vec![0.1, 0.2],
        };
        let panel = |caption: &str| Panel {
            caption: caption.to_owned(),
            points: points.clone(),
            colours: vec![0.3],
        };
        let gallery = Gallery {
            forward: vec![panel("t = 0"), panel("t = 1000")],
            samples: vec![("int8", vec![panel("DDIM, 50 steps")])],
            trajectories: Some(Trajectories {
                model: "int8",
                steps: 50,
                paths: vec![points.clone()],
                colours: vec![0.3],
            }),
        };
        let page = html(&evaluation(), &gallery).unwrap();
        well_set(&page);
        for words in [
            "a&lt;b.tddpm",
            "t = 1000",
            "DDIM, 50 steps",
            "0.003000",
            "beef",
        ] {
            assert!(page.contains(words), "{words}");
        }
        assert_eq!(page.matches("<svg").count(), 4);
        for outside in ["http:", "https:", "<script", "src="] {
            assert!(!page.contains(outside), "{outside}");
        }
    }
}
