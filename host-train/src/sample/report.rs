//! What is said about the pictures, and the files they become.

use std::fmt::Write;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tiny_ddpm::{Data, Method, Variance};

use super::points;
use super::publish::publish;
use crate::duration::duration;
use crate::generate::{Classes, Pictures, Request, describe, eta_of};
use crate::output::{Drawing, Grid, Style, encode_npy, encode_png};
use crate::points::Points;

/// Most pictures drawn in the terminal.
const DRAWN: usize = 10;
/// The contact sheet's name.
const GRID: &str = "grid.png";

/// Where pictures come from.
#[derive(Clone, Debug)]
pub struct Source<'p> {
    /// The blob, or the folder of a run.
    pub path: &'p Path,
    /// What its makers call it.
    pub name: String,
    /// Of a blob.
    pub sha256: Option<String>,
    /// What it draws.
    pub data: Data,
    /// Classes that can be asked for.
    pub classes: u16,
}

/// Everything a script may want to know.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    blob: PathBuf,
    model: String,
    /// Of a blob.
    sha256: Option<String>,
    /// `picture` or `point`.
    data: &'static str,
    count: usize,
    /// Number of the first under the seed.
    first: u64,
    /// Of a walk, the frames from each picture to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    walk: Option<NonZeroU16>,
    /// Pixels a side of a picture, or values of a point.
    size: u8,
    /// Of the model.
    classes: u16,
    class: String,
    sampler: &'static str,
    steps: u16,
    spacing: &'static str,
    /// Runs of the network for a picture.
    evaluations: u32,
    /// DDIM's.
    eta: Option<f32>,
    /// DDPM's.
    variance: Option<&'static str>,
    guidance: f32,
    clip: bool,
    seed: u64,
    /// What generating took.
    pub seconds: f64,
    threads: usize,
    /// CRC-32 of all pixels.
    hash: String,
    files: Vec<PathBuf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pictures: Vec<Picture>,
}

/// One picture of the report.
#[derive(Clone, Debug, Serialize)]
struct Picture {
    picture: u64,
    class: Option<u8>,
    /// CRC-32 of its pixels, as the chip prints it.
    hash: String,
    /// CRC-32 of x_0's bits.
    state: String,
}

impl Report {
    /// What is known before the first picture.
    #[must_use]
    pub fn new(source: Source<'_>, request: &Request) -> Self {
        let variance = match request.method {
            Method::Ddpm { variance } => Some(variance_name(variance)),
            _ => None,
        };
        let (data, size) = match source.data {
            Data::Picture { side } => ("picture", side),
            Data::Point { values } => ("point", values),
        };
        let settings = request.settings(0, source.classes);
        Self {
            blob: source.path.to_owned(),
            model: source.name,
            sha256: source.sha256,
            count: request.count,
            first: request.first,
            walk: request.walk,
            data,
            size,
            classes: source.classes,
            class: request.classes.to_string(),
            sampler: request.method.name(),
            steps: request.steps,
            spacing: request.spacing.name(),
            evaluations: settings.evaluations(),
            eta: eta_of(request.method),
            variance,
            guidance: request.guidance,
            clip: request.clip,
            seed: request.seed,
            seconds: 0.0,
            threads: rayon::current_num_threads(),
            hash: String::new(),
            files: Vec::new(),
            pictures: Vec::new(),
        }
    }

    /// Where the pictures stand in `grid.png`.
    #[must_use]
    pub fn grid(&self) -> Grid {
        let in_turn = self.class == Classes::All.to_string() && self.walk.is_none();
        let classes = match in_turn {
            true => self.classes.into(),
            false => 0,
        };
        let count = self.count.min(Grid::most(classes));
        Grid::new(count, self.size.into(), classes)
    }

    /// Adds what is known in the end.
    pub fn finish(&mut self, pictures: &Pictures, files: Vec<PathBuf>) {
        self.hash = hex(pictures.hash());
        self.files = files;
        self.pictures = rows(pictures, self.first).collect();
    }

    /// The same of points.
    pub fn finish_points(&mut self, points: &Points, files: Vec<PathBuf>) {
        self.hash = hex(points.hash());
        self.files = files;
    }

    /// What is going to be done.
    #[must_use]
    pub fn heading(&self) -> String {
        let what = match self.class.as_str() {
            "all" => format!("classes 0 to {}", self.classes - 1),
            "none" => "no class".to_owned(),
            class => format!("class {class}"),
        };
        format!(
            "{} ({}): {} of {what}\n{} ({}), {}, guidance {}{}, seed {}\n\n",
            self.model,
            self.blob.display(),
            counted(self.count, self.data),
            counted(self.steps.into(), "step"),
            match self.evaluations {
                1 => "1 run of the network".to_owned(),
                runs => format!("{runs} runs of the network"),
            },
            describe(self.sampler, self.spacing, self.eta),
            self.guidance,
            if self.clip { "" } else { ", no clipping" },
            self.seed
        )
    }

    /// Some pictures, the hash and where everything is.
    #[must_use]
    pub fn conclusion(&self, pictures: &Pictures) -> String {
        let drawings: Vec<Drawing<'_>> = pictures
            .iter()
            .zip(&self.pictures)
            .take(DRAWN)
            .map(|(pixels, picture)| Drawing {
                pixels,
                caption: match picture.class {
                    Some(class) => format!("{class}  {}", picture.hash),
                    None => picture.hash.clone(),
                },
            })
            .collect();
        let text = Drawing::draw_all(&drawings, pictures.size, Style::of_stdout());
        self.account(text, "hash of all pixels")
    }

    /// The same of points: their map.
    #[must_use]
    pub fn conclusion_points(&self, points: &Points) -> String {
        self.account(points::drawing(points), "hash of all values")
    }

    /// What it took, the hash and the files, after a drawing.
    fn account(&self, mut text: String, hash: &str) -> String {
        let _ = writeln!(
            text,
            "{} in {} on {} ({:.2} s each)",
            counted(self.count, self.data),
            duration(Duration::from_secs_f64(self.seconds)),
            counted(self.threads, "thread"),
            self.seconds / self.count as f64
        );
        let _ = writeln!(text, "{hash}: {}", self.hash);
        for file in &self.files {
            let part = match (file.ends_with(GRID), self.grid().pictures()) {
                (true, shown) if shown < self.count => {
                    format!("  the first {shown} of {}", self.count)
                }
                _ => String::new(),
            };
            let _ = writeln!(text, "  {}{part}", file.display());
        }
        text
    }

    /// The report as JSON.
    ///
    /// # Errors
    /// Where a path is not Unicode.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// Writes everything into a folder, all files together, and gives their names.
///
/// # Errors
/// Where one cannot be written; then all stand as before.
pub fn write_files(
    folder: &Path,
    pictures: &Pictures,
    first: u64,
    grid: Grid,
    animation: Option<(&'static str, Vec<u8>)>,
) -> Result<Vec<PathBuf>> {
    let size = pictures.size;
    let labels: Vec<i64> = pictures
        .classes
        .iter()
        .map(|class| class.map_or(-1, i64::from))
        .collect();
    let png = encode_png(grid.width(), grid.height(), &grid.draw(pictures.iter()))?;
    let files = vec![
        (
            "images.npy",
            encode_npy(&[pictures.len(), size, size], &pictures.pixels)?,
        ),
        ("labels.npy", encode_npy(&[labels.len()], &labels)?),
        ("hashes.csv", hashes(pictures, first).into_bytes()),
        (GRID, png),
    ];
    publish(folder, files, animation)
}

fn hashes(pictures: &Pictures, first: u64) -> String {
    let mut text = String::from("picture,class,hash,state\n");
    for row in rows(pictures, first) {
        let class = row.class.map_or(-1, i16::from);
        let _ = writeln!(text, "{},{class},{},{}", row.picture, row.hash, row.state);
    }
    text
}

/// A row for each picture, whose numbers begin with `first`.
fn rows(pictures: &Pictures, first: u64) -> impl Iterator<Item = Picture> {
    let numbered = (first..).zip(&pictures.classes);
    let hashes = pictures.hashes().zip(&pictures.states);
    numbered
        .zip(hashes)
        .map(|((picture, &class), (hash, &state))| Picture {
            picture,
            class,
            hash: hex(hash),
            state: hex(state),
        })
}

fn hex(hash: u32) -> String {
    format!("{hash:08x}")
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn variance_name(variance: Variance) -> &'static str {
    match variance {
        Variance::Beta => "beta",
        Variance::Posterior => "posterior",
    }
}
