//! `tiny-ddpm explain`: from the command line to the page.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use tiny_ddpm::{Data, Model, Topology};

use super::page::{self, Facts};
use super::story::{Asked, PointsStory, Story, own_picture};
use crate::data::{Dataset, Split, Square, to_unit};
use crate::generate::Classes;
use crate::model_file;
use crate::output::{Staged, check_folder, print};

/// The page's name.
const PAGE: &str = "explain.html";

/// Show how a model draws: a picture or points on the way into the noise and back
///
/// Writes explain.html, one file that needs nothing beside it: a picture with
/// more and more noise, the schedule's curves, what the network is asked and
/// says, x_t and its guess of x_0 at every step from one seed, and all samplers
/// side by side, with the equations and the functions that compute them.
///
/// The picture is a test picture (--data), a PNG (--picture) or, without
/// either, one that the model draws itself. Of a model for points it is a cloud
/// of held-out points of the Swiss roll, of which one is followed (--point).
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArgs {
    /// The weights, as `tiny-ddpm export` writes them
    #[arg(value_name = "BLOB")]
    pub blob: PathBuf,
    /// A folder with IDX files (raw or .gz), or with a sub-folder of pictures
    /// (PNG, JPEG, WebP) for each class: its first test picture is taken, of the
    /// class if one is given
    #[arg(long, value_name = "DIR", conflicts_with = "picture")]
    pub data: Option<PathBuf>,
    /// A PNG, JPEG or WebP; it is turned grey and resized
    #[arg(long, value_name = "FILE")]
    pub picture: Option<PathBuf>,
    /// A model for points: the held-out point that is followed, by its number
    /// [default: 0]
    #[arg(
        long,
        value_name = "N",
        conflicts_with_all = ["data", "picture", "class"],
        allow_negative_numbers = true
    )]
    pub point: Option<usize>,
    /// What the network is told: a class's number or `none` [default: the test
    /// picture's class, or 0; `none` for a PNG]
    #[arg(long, value_name = "C", allow_negative_numbers = true)]
    pub class: Option<Classes>,
    /// Timesteps visited by all samplers, 1 to the schedule's T [default: the
    /// model's]
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    pub steps: Option<u16>,
    /// Seed of all noise
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = "out/explain")]
    pub out: PathBuf,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  tiny-ddpm explain models/digits.tddpm
      with a picture that the model draws; the page is in out/explain
  tiny-ddpm explain models/digits.tddpm --data MNIST --class 7 --seed 42
      with the first seven of the test pictures
  tiny-ddpm explain models/digits.tddpm --picture mine.png --class 3
      with a PNG of your own
  tiny-ddpm explain models/swiss-roll.tddpm --point 3
      points in two dimensions, where everything can be seen";

impl ExplainArgs {
    /// What the network is told, where that is said, and checked against the
    /// model.
    fn class(&self, model: &Model<'_>) -> Result<Option<Option<u8>>> {
        let classes = model.topology().classes;
        Ok(match self.class {
            None => None,
            Some(Classes::None) => Some(None),
            Some(Classes::All) => {
                anyhow::bail!("--class all: a page is about one picture; name one class, or `none`")
            }
            Some(Classes::One(class)) => {
                let known = u8::try_from(class).ok().filter(|&c| u16::from(c) < classes);
                ensure!(
                    known.is_some(),
                    "--class {class}: {}",
                    match classes {
                        0 => "the model has no classes".to_owned(),
                        _ => format!("must be 0 to {}, or `none`", classes - 1),
                    }
                );
                Some(known)
            }
        })
    }

    /// What to draw from noise, as far as the picture does not say more.
    fn asked(&self, model: &Model<'_>, class: Option<u8>) -> Result<Asked> {
        let asked = Asked {
            class,
            steps: self.steps.unwrap_or(model.info().recommended.steps),
            seed: self.seed,
        };
        asked.request(model).validate(model)?;
        Ok(asked)
    }
}

/// Writes the page and says where it is.
///
/// # Errors
/// Where the blob, the picture or a setting is not as it should be, or the
/// page cannot be written.
pub fn run(args: &ExplainArgs) -> Result<()> {
    let bytes = model_file::read(&args.blob)?;
    let model = model_file::load(&args.blob, &bytes)?;
    check_folder(&args.out)?;
    let (facts, html) = match model.topology().data() {
        Data::Picture { .. } => of_picture(args, &model, &bytes)?,
        Data::Point { .. } => of_points(args, &model, &bytes)?,
    };
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let path = args.out.join(PAGE);
    let mut staged = Staged::default();
    staged.add(&path, html.as_bytes())?;
    staged.publish()?;
    if !args.quiet {
        print(&format!(
            "{}: x_0 is {}\n  {}\n",
            facts.info.name,
            facts.x_0,
            path.display()
        ))?;
    }
    Ok(())
}

/// What the page says of the model, of what is shown with it and of the seed.
fn facts<'b>(
    args: &ExplainArgs,
    model: &Model<'b>,
    bytes: &[u8],
    x_0: String,
    asked: Asked,
) -> Facts<'b> {
    Facts {
        path: args.blob.display().to_string(),
        sha256: model_file::sha256(bytes),
        info: model.info().clone(),
        x_0,
        class: asked.class,
        seed: asked.seed,
        guidance: asked.request(model).guidance,
    }
}

fn of_picture<'b>(
    args: &ExplainArgs,
    model: &Model<'b>,
    bytes: &[u8],
) -> Result<(Facts<'b>, String)> {
    ensure!(
        args.point.is_none(),
        "--point is for models of points: {} draws pictures, of which --data or --picture names one",
        args.blob.display()
    );
    let wanted = args.class(model)?;
    // What cannot be drawn shall be said before data are read.
    let class = wanted.unwrap_or(model.is_conditional_only().then_some(0));
    args.asked(model, class)?;
    let (x_0, described, asked) = match (&args.data, &args.picture) {
        (Some(folder), _) => {
            let (pixels, label, described) = test_picture(folder, model, wanted.flatten())?;
            let known = u16::from(label) < model.topology().classes;
            let class = wanted.unwrap_or(known.then_some(label));
            (values(&pixels), described, args.asked(model, class)?)
        }
        (None, Some(file)) => {
            let (pixels, described) = own_png(file, model)?;
            let asked = args.asked(model, wanted.flatten())?;
            (values(&pixels), described, asked)
        }
        (None, None) => {
            let some = model.topology().classes > 0;
            let asked = args.asked(model, wanted.unwrap_or(some.then_some(0)))?;
            let described = "a picture that the model drew itself, with other noise".to_owned();
            (own_picture(model, asked)?, described, asked)
        }
    };
    let story = Story::new(model, &x_0, asked)?;
    let facts = facts(args, model, bytes, described, asked);
    let html = page::of_picture(&facts, &model.schedule(), &story)?;
    Ok((facts, html))
}

fn of_points<'b>(
    args: &ExplainArgs,
    model: &Model<'b>,
    bytes: &[u8],
) -> Result<(Facts<'b>, String)> {
    ensure!(
        args.data.is_none() && args.picture.is_none(),
        "--data and --picture are for pictures: {} draws points, and the Swiss roll, which they are of, is drawn too",
        args.blob.display()
    );
    let class = args.class(model)?.flatten();
    let asked = args.asked(model, class)?;
    let point = args.point.unwrap_or(0);
    let story = PointsStory::new(model, point, asked)?;
    let described = format!(
        "{} held-out points of the Swiss roll, of which number {point} is followed",
        story.x_0.len()
    );
    let facts = facts(args, model, bytes, described, asked);
    let html = page::of_points(&facts, &model.schedule(), &story)?;
    Ok((facts, html))
}

/// The first test picture, of a class if one is given; with its class and what
/// the page says of it.
fn test_picture(
    folder: &Path,
    model: &Model<'_>,
    class: Option<u8>,
) -> Result<(Vec<u8>, u8, String)> {
    let Topology {
        image_size,
        classes,
        ..
    } = *model.topology();
    let data = Dataset::load_sized(folder, Split::Test, image_size.into(), classes)?;
    let mut labels = data.labels.iter();
    let found = labels.position(|&label| class.is_none_or(|class| class == label));
    let index = found.with_context(|| {
        let what = class.map_or(String::new(), |class| format!(" of class {class}"));
        format!("{} has no test picture{what}", folder.display())
    })?;
    let label = data.labels[index];
    let described = format!(
        "test picture {index} in {}, of class {label}",
        folder.display()
    );
    Ok((data.picture(index).to_owned(), label, described))
}

/// A picture of the user's own.
fn own_png(file: &Path, model: &Model<'_>) -> Result<(Vec<u8>, String)> {
    let size = u32::from(model.topology().image_size);
    let square = Square::read(file, size)?;
    let mut described = file.display().to_string();
    let (width, height) = square.sides;
    if square.sides != (size, size) {
        described += &format!(", {width} x {height} pixels resized to {size} x {size}");
    }
    if square.coloured {
        described += ", turned grey";
    }
    if square.transparent {
        described += ", laid on white";
    }
    Ok((square.pixels, described))
}

/// Grey values as the network sees them.
fn values(pixels: &[u8]) -> Vec<f32> {
    pixels.iter().copied().map(to_unit).collect()
}
