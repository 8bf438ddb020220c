//! What was found, for people: text for the terminal, and one HTML file that
//! needs nothing beside itself.

mod html;
pub(crate) mod plot;
mod text;

pub use html::html;
pub(crate) use html::{STYLE, escaped, list, row_of};
pub use text::{conclusion, heading};

/// The pictures that the report shows.
#[derive(Clone, Debug, Default)]
pub struct Gallery {
    /// Pixels a side.
    pub size: usize,
    /// Classes that the pictures show in turn, or 0.
    pub classes: usize,
    /// The names of these classes, where they have some; else empty.
    pub labels: Vec<String>,
    /// What is shown of each model.
    pub models: Vec<ModelPictures>,
}

/// A model's pictures in the report.
#[derive(Clone, Debug)]
pub struct ModelPictures {
    /// As in [`ModelFacts`](super::results::ModelFacts).
    pub numbers: &'static str,
    /// The first pictures of a set, one after the other.
    pub generated: Vec<u8>,
    /// The training picture nearest to each of the first of them.
    pub nearest: Vec<u8>,
}

/// The row of real test pictures.
const TEST: &str = "real, test";
/// The row of a half of training pictures.
const FLOOR: &str = "real, training";
/// Rows of real pictures at the table's end.
const REAL_ROWS: usize = 2;

/// A share as people read it.
fn percent(share: f64) -> String {
    format!("{:.2}%", 100.0 * share)
}

/// The rows of the main table: its head, then sets, then [`REAL_ROWS`].
fn table(evaluation: &super::Evaluation) -> Vec<Vec<String>> {
    let head = [
        "pictures",
        "steps",
        "read as asked",
        "Frechet",
        "precision",
        "recall",
        "density",
        "coverage",
    ];
    let manifold = |m: &crate::metrics::Manifold| {
        [
            percent(m.precision),
            percent(m.recall),
            format!("{:.3}", m.density),
            percent(m.coverage),
        ]
    };
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for set in &evaluation.sets {
        let accuracy = set.accuracy.as_ref();
        let mut row = vec![
            set.model.to_owned(),
            match set.steps {
                0 => "-".to_owned(),
                steps => steps.to_string(),
            },
            accuracy.map_or_else(|| "-".to_owned(), |accuracy| percent(accuracy.overall)),
            format!("{:.3}", set.frechet),
        ];
        row.extend(manifold(&set.manifold));
        rows.push(row);
    }
    let real = &evaluation.real;
    let mut row = vec![
        TEST.to_owned(),
        "-".to_owned(),
        percent(evaluation.judge_test_accuracy),
        format!("{:.3}", real.test.frechet),
    ];
    row.extend(manifold(&real.test.manifold));
    rows.push(row);
    let mut row = vec![
        FLOOR.to_owned(),
        "-".to_owned(),
        "-".to_owned(),
        format!("{:.3}", real.frechet),
    ];
    row.extend(manifold(&real.manifold));
    rows.push(row);
    rows
}
