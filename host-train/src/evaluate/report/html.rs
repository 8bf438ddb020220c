//! The page.

use std::fmt::Write;

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::super::Evaluation;
use super::super::results::{ModelFacts, Neighbours, SetResult};
use super::plot::{Line, plot};
use super::{Gallery, ModelPictures, REAL_ROWS, percent, table};
use crate::generate::describe;
use crate::output::{Grid, encode_png, typeset};

/// The look of a page, in the light and in the dark. Without a mathematical font
/// an accent touches its letter if it has no padding.
pub(crate) const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #8886; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr.real { font-style: italic; }
td.shown { font-weight: bold; }
img { max-width: 100%; image-rendering: pixelated; }
figure { display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top; }
.warning { border-left: .3rem solid #c60; padding-left: .7rem; }
figcaption, .note { font-size: .9rem; opacity: .8; }
code { overflow-wrap: anywhere; }
.columns { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; max-width: 100%; font-size: .8rem; }
.columns span { overflow: hidden; text-overflow: ellipsis; text-align: center; white-space: nowrap; }
mover > mo { padding-bottom: .12em; }
.plot { width: 100%; max-width: 640px; display: block; }
.plot text { fill: currentColor; }
.plot [stroke=\"#000000\"] { stroke: currentColor; }
";

/// The whole report as one file: its pictures and plots are inside it.
///
/// # Errors
/// Where a picture or plot cannot be drawn.
pub fn html(evaluation: &Evaluation, gallery: &Gallery) -> Result<String> {
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n");
    let title = match evaluation.models.first() {
        Some(model) => model.name.as_ref().unwrap_or(&model.path),
        None => "a model",
    };
    let title = format!("How good is {}?", escaped(title));
    let _ = write!(
        page,
        "<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    facts(&mut page, evaluation);
    quality(&mut page, evaluation);
    curves(&mut page, evaluation)?;
    classes(&mut page, evaluation);
    for pictures in &gallery.models {
        let grid = Grid::new(
            pictures.generated.len() / (gallery.size * gallery.size).max(1),
            gallery.size,
            gallery.classes,
        );
        let labels = gallery.labels.iter().cycle();
        let labels: Vec<String> = match grid.is_one_class_a_column() {
            true => labels.take(grid.columns()).cloned().collect(),
            false => Vec::new(),
        };
        let _ = write!(
            page,
            "<h2>Pictures, {}</h2>\n{}",
            pictures.numbers,
            figure(
                grid.within(620),
                gallery.size,
                &labels,
                &pictures.generated,
                "The first of the set, not chosen."
            )?
        );
    }
    neighbours(&mut page, evaluation, gallery)?;
    bound(&mut page, evaluation);
    differences(&mut page, evaluation);
    page += "</body>\n</html>\n";
    typeset(&page)
}

/// The models, as items of a list.
pub(crate) fn list(page: &mut String, models: &[ModelFacts]) {
    for model in models {
        let _ = write!(
            page,
            "<li>{}: <code>{}</code>",
            model.numbers,
            escaped(&model.path)
        );
        if let Some(sha256) = &model.sha256 {
            let _ = write!(page, ", SHA-256 <code>{sha256}</code>");
        }
        *page += "</li>\n";
    }
}

/// What was measured, and on what.
fn facts(page: &mut String, evaluation: &Evaluation) {
    let (settings, data) = (&evaluation.settings, &evaluation.data);
    *page += "<ul>\n";
    list(page, &evaluation.models);
    let _ = match settings.shown_steps {
        0 => writeln!(page, "<li>{} pictures</li>", settings.count),
        _ => writeln!(
            page,
            "<li>{} pictures a set, classes in turn; {}, guidance {}, seed {}</li>",
            settings.count,
            describe(settings.sampler, settings.spacing, settings.eta),
            settings.guidance,
            settings.seed
        ),
    };
    let _ = write!(
        page,
        "<li>real pictures: {} for training (SHA-256 <code>{}</code>), {} for testing</li>\n<li>the judge, a network trained on the real training pictures alone, reads {} of the real test pictures right</li>\n</ul>\n",
        data.train,
        escaped(&data.train_sha256),
        data.test,
        percent(evaluation.judge_test_accuracy)
    );
}

/// The main table.
fn quality(page: &mut String, evaluation: &Evaluation) {
    *page += "<h2>Quality</h2>\n<div class=\"scroll\"><table>\n";
    let rows = table(evaluation);
    for (index, row) in rows.iter().enumerate() {
        let (tag, kind) = match index {
            0 => ("th", ""),
            _ if index + REAL_ROWS >= rows.len() => ("td", " class=\"real\""),
            _ => ("td", ""),
        };
        row_of(page, tag, kind, row);
    }
    let real = &evaluation.real;
    let _ = write!(
        page,
        "</table></div>\n<p class=\"note\">Every row is held against {0} training pictures drawn at random. The last rows are what real pictures get in place of generated ones: {1} test pictures (for the reading all {2}), which the judge never saw, and {0} other training pictures, the floor. No sampler can be told to be better than that. Frechet distances depend on the number of pictures and on this judge: compare them within a report. They are not FID as others print it. Precision and recall after Kynkäänniemi et al. 2019, density and coverage after Naeem et al. 2020.</p>\n",
        real.count, real.test.count, evaluation.data.test
    );
    for warning in &evaluation.warnings {
        let _ = writeln!(
            page,
            "<p class=\"warning\"><strong>{}</strong>: {}</p>",
            escaped(&match warning.steps {
                0 => warning.model.to_owned(),
                steps => format!("{} in {steps} steps", warning.model),
            }),
            escaped(&warning.text)
        );
    }
}

/// Quality over steps, where there is more than one number of them.
fn curves(page: &mut String, evaluation: &Evaluation) -> Result<()> {
    if evaluation.settings.steps.len() < 2 {
        return Ok(());
    }
    let lines = |value: &dyn Fn(&SetResult) -> Option<f64>| -> Vec<Line<'_>> {
        let lines = evaluation.models.iter().map(|model| Line {
            name: model.numbers,
            points: evaluation
                .sets
                .iter()
                .filter(|set| set.model == model.numbers)
                .filter_map(|set| Some((set.steps, value(set)?)))
                .collect(),
        });
        lines.filter(|line| !line.points.is_empty()).collect()
    };
    *page += "<h2>Steps and quality</h2>\n";
    let frechet = lines(&|set| Some(set.frechet));
    *page += &plot(
        "Frechet distance: less is better",
        &frechet,
        evaluation.real.frechet,
    )?;
    let read = lines(&|set| Some(100.0 * set.accuracy.as_ref()?.overall));
    if !read.is_empty() {
        *page += &plot(
            "Read as the class asked for, in percent",
            &read,
            100.0 * evaluation.judge_test_accuracy,
        )?;
    }
    Ok(())
}

/// The reading by class.
fn classes(page: &mut String, evaluation: &Evaluation) {
    let shown = evaluation.settings.shown_steps;
    let sets: Vec<_> = evaluation
        .sets
        .iter()
        .filter(|set| set.steps == shown)
        .filter_map(|set| Some((set.model, set.accuracy.as_ref()?)))
        .collect();
    let Some(count) = sets.iter().map(|(_, found)| found.classes.len()).max() else {
        return;
    };
    let steps = match shown {
        0 => String::new(),
        steps => format!(", {steps} steps"),
    };
    let _ = write!(
        page,
        "<h2>Read as the class asked for{steps}</h2>\n<div class=\"scroll\"><table>\n"
    );
    let mut head = vec!["class".to_owned()];
    head.extend((0..count).map(|class| escaped(&evaluation.data.class(class))));
    row_of(page, "th", "", &head);
    for (model, accuracy) in sets {
        let mut row = vec![model.to_owned()];
        row.extend(accuracy.classes.iter().map(|share| match share {
            Some(share) => percent(*share),
            None => "-".to_owned(),
        }));
        row_of(page, "td", "", &row);
    }
    *page += "</table></div>\n";
}

/// Generated pictures above the training pictures nearest to them.
fn neighbours(page: &mut String, evaluation: &Evaluation, gallery: &Gallery) -> Result<()> {
    if evaluation.neighbours.is_empty() {
        return Ok(());
    }
    *page += "<h2>Copies?</h2>\n";
    for found in &evaluation.neighbours {
        let pictures = gallery.models.iter();
        if let Some(pictures) = pictures.into_iter().find(|p| p.numbers == found.model) {
            *page += &pairs(found, pictures, gallery)?;
        }
    }
    *page += "<div class=\"scroll\"><table>\n";
    let head = [
        "to the nearest training picture",
        "pictures",
        "least",
        "median",
        "most",
    ];
    row_of(page, "th", "", &head.map(str::to_owned));
    let mut rows: Vec<_> = evaluation
        .neighbours
        .iter()
        .map(|found| (found.model, "", &found.generated_distances))
        .collect();
    if let Some(found) = evaluation.neighbours.first() {
        rows.push((
            "real test pictures",
            " class=\"real\"",
            &found.test_distances,
        ));
    }
    for (name, kind, spread) in rows {
        let row = [
            name.to_owned(),
            spread.count.to_string(),
            format!("{:.1}", spread.least),
            format!("{:.1}", spread.median),
            format!("{:.1}", spread.most),
        ];
        row_of(page, "td", kind, &row);
    }
    *page += "</table></div>\n<p class=\"note\">Root mean square over the pixels, in grey values of 255. A model that copies is much nearer to its training pictures than test pictures are.</p>\n";
    Ok(())
}

fn pairs(found: &Neighbours, pictures: &ModelPictures, gallery: &Gallery) -> Result<String> {
    let size = gallery.size;
    let count = found.generated.len();
    let upper = pictures.generated.chunks_exact((size * size).max(1));
    let mut pixels: Vec<u8> = upper.take(count).flatten().copied().collect();
    pixels.extend(&pictures.nearest);
    let distances: Vec<String> = found
        .generated
        .iter()
        .map(|neighbour| format!("{:.1}", neighbour.distance))
        .collect();
    let caption = format!(
        "{}: generated above, the nearest training picture below; apart by {}",
        found.model,
        distances.join(", ")
    );
    let grid = Grid::with_columns(2 * count, size, count);
    // The first of the set again, so that classes follow each other.
    let labels = gallery.labels.iter().cycle().take(count);
    let labels: Vec<String> = labels.cloned().collect();
    figure(grid.within(620), size, &labels, &pixels, &caption)
}

fn bound(page: &mut String, evaluation: &Evaluation) {
    if evaluation.bounds.is_empty() {
        return;
    }
    *page += "<h2>Variational bound</h2>\n<div class=\"scroll\"><table>\n";
    let head = [
        "reverse variance",
        "$L_T$",
        "sum of $L_{t-1}$",
        "$L_0$",
        "bits per dimension",
    ];
    row_of(page, "th", "", &head.map(str::to_owned));
    let mut pictures = 0;
    for bound in &evaluation.bounds {
        let variance = match bound.variance {
            "beta" => r"$\beta_t$",
            _ => r"$\tilde\beta_t$",
        };
        let error = bound.standard_error;
        let error = error.map_or_else(String::new, |error| format!(" ± {error:.4}"));
        let row = [
            format!("{}, {variance}", bound.model),
            format!("{:.5}", bound.prior),
            format!("{:.4}", bound.diffusion),
            format!("{:.4}", bound.decoder),
            format!("{:.4}{error}", bound.total),
        ];
        row_of(page, "td", "", &row);
        pictures = bound.pictures;
    }
    let _ = write!(
        page,
        "</table></div>\n<p class=\"note\">Of {pictures} real test pictures given their class, without guidance, over all timesteps (Ho et al. 2020, eq. 5). Behind ± stands the standard error over the pictures.</p>\n"
    );
}

fn differences(page: &mut String, evaluation: &Evaluation) {
    if evaluation.differences.is_empty() {
        return;
    }
    *page += "<h2>From the same noise</h2>\n<div class=\"scroll\"><table>\n";
    let head = [
        "steps",
        "mean difference of a pixel",
        "of the picture that differs most",
    ];
    row_of(page, "th", "", &head.map(str::to_owned));
    for found in &evaluation.differences {
        let row = [
            found.steps.to_string(),
            format!("{:.2}", found.mean),
            format!("{:.2}", found.worst),
        ];
        row_of(page, "td", "", &row);
    }
    *page +=
        "</table></div>\n<p class=\"note\">Between the two models, in grey values of 255.</p>\n";
}

/// A row of a table; its cells are HTML.
pub(crate) fn row_of(page: &mut String, tag: &str, kind: &str, cells: &[String]) {
    let _ = write!(page, "<tr{kind}>");
    for cell in cells {
        let _ = write!(page, "<{tag}>{cell}</{tag}>");
    }
    *page += "</tr>\n";
}

/// Pictures in a grid, as a PNG within the page, under names of its columns.
fn figure(
    grid: Grid,
    size: usize,
    labels: &[String],
    pixels: &[u8],
    caption: &str,
) -> Result<String> {
    let pictures = pixels.chunks_exact((size * size).max(1));
    let png = encode_png(grid.width(), grid.height(), &grid.draw(pictures))?;
    let caption = escaped(caption);
    let mut above = String::new();
    if !labels.is_empty() {
        let _ = write!(
            above,
            "<div class=\"columns\" style=\"width: {}px\">",
            grid.width()
        );
        for name in labels.iter().map(|name| escaped(name)) {
            let _ = write!(above, "<span title=\"{name}\">{name}</span>");
        }
        above += "</div>";
    }
    Ok(format!(
        "<figure>{above}<img alt=\"{caption}\" width=\"{}\" src=\"data:image/png;base64,{}\"/><figcaption>{caption}</figcaption></figure>\n",
        grid.width(),
        BASE64_STANDARD.encode(png)
    ))
}

/// Text that stands for itself in HTML.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            // Elsewhere it starts an equation.
            '$' => out += "&#36;",
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::super::results::tests::{example, named};
    use super::*;
    use crate::output::well_set;

    fn gallery() -> Gallery {
        let pictures = |numbers, level| ModelPictures {
            numbers,
            generated: vec![level; 20 * 4],
            nearest: vec![level; 4],
        };
        Gallery {
            size: 2,
            classes: 10,
            labels: Vec::new(),
            models: vec![pictures("f32", 10), pictures("int8", 250)],
        }
    }

    #[test]
    fn needs_nothing_beside_itself() {
        let page = html(&example(), &gallery()).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>"));
        for outside in ["href=", "src=\"http", "<script", "url(", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        // Two grids, one row of pairs, two plots.
        assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 3);
        assert_eq!(page.matches("<svg").count(), 2);
        for word in [
            "98.70%",
            "99.41%",
            "1.3004 ± 0.0200",
            "31.5",
            "1.25",
            "too &lt;good&gt;",
        ] {
            assert!(page.contains(word), "{word}");
        }
    }

    #[test]
    fn elements_are_closed_and_paths_are_escaped() {
        let page = html(&example(), &gallery()).unwrap();
        assert!(page.contains("models/&lt;int8&gt;"));
        well_set(&page);
        assert!(page.contains("<mi>β</mi><mo stretchy=\"false\">˜</mo>"));
    }

    #[test]
    fn classes_with_names_are_called_by_them() {
        let evaluation = named();
        let gallery = Gallery {
            classes: 3,
            labels: evaluation.data.class_names.clone(),
            ..gallery()
        };
        let page = html(&evaluation, &gallery).unwrap();
        let head = "<th>class</th><th>0 cat</th><th>1 &lt;dog&gt;</th><th>2 fish</th>";
        assert!(page.contains(head));
        let label = "<span title=\"&lt;dog&gt;\">&lt;dog&gt;</span>";
        // Twice above each model's pictures, whose rows have all classes twice;
        // the one pair that is shown is a cat.
        assert_eq!(page.matches(label).count(), 4);
        assert_eq!(page.matches("<span title=\"cat\">cat</span>").count(), 5);
        let text = super::super::conclusion(&evaluation);
        assert!(text.contains("  1 <dog>: 97.40%"), "{text}");
        // Numbers alone where they are all there is.
        let page = html(&example(), &self::gallery()).unwrap();
        assert!(page.contains("<th>class</th><th>0</th><th>1</th>"));
        assert!(!page.contains("class=\"columns\""));
    }

    #[test]
    fn pictures_are_those_of_the_gallery() {
        let page = html(&example(), &gallery()).unwrap();
        let start = "src=\"data:image/png;base64,";
        let at = page.find(start).unwrap() + start.len();
        let text = page[at..].split('"').next().unwrap();
        let bytes = BASE64_STANDARD.decode(text).unwrap();
        let mut png = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .unwrap();
        let mut pixels = vec![0; png.output_buffer_size().unwrap()];
        png.next_frame(&mut pixels).unwrap();
        assert_eq!(pixels[pixels.len() / 8], 10);
    }

    #[test]
    fn one_set_has_no_curve() {
        let mut evaluation = example();
        evaluation.settings.steps = vec![20];
        evaluation.bounds.clear();
        evaluation.differences.clear();
        let page = html(&evaluation, &gallery()).unwrap();
        assert_eq!(page.matches("<svg").count(), 0);
        assert!(!page.contains("Variational"));
    }
}
