//! What to generate, understood alike by the chip and the host.

use anyhow::{Context, Result, anyhow, bail};
use std::path::Path;
use tiny_ddpm::diffusion::latent_walk::{Frame, Walk};
use tiny_ddpm::{Data, Method, Model, Settings, Spacing};

/// Most pictures that the firmware makes at once, of a model with classes.
const MAX_PICTURES: u16 = 64;
/// Pictures of a model without classes, and points, where nothing is said.
const PICTURES: u16 = 10;
const POINTS: u16 = 200;

/// Everything that, with the model, fixes a series of pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Seed of all noise.
    pub seed: u64,
    /// Timesteps visited.
    pub steps: u16,
    /// How a step is made.
    pub method: Method,
    /// Which timesteps are visited.
    pub spacing: Spacing,
    /// Classifier-free guidance.
    pub guidance: f32,
    /// The class of picture 0, 1, ...; empty of a model without classes.
    pub classes: Vec<u8>,
    /// How many, of a model without classes.
    pub count: u16,
    /// Frames from each picture to the next, of a walk; 0 for none.
    pub walk: u16,
}

impl Request {
    /// One picture of each class, or of the first 64, ten of a model without classes, or
    /// 200 points, with the settings that the
    /// model's makers recommend.
    #[must_use]
    pub fn recommended(model: &Model<'_>) -> Self {
        let recommended = model.info().recommended;
        Self {
            seed: 1,
            steps: recommended.steps,
            method: Method::Ddim {
                eta: recommended.eta,
            },
            spacing: Spacing::default(),
            guidance: recommended.guidance,
            classes: (0..model.topology().classes.min(MAX_PICTURES))
                .map(|class| class as u8)
                .collect(),
            count: match model.topology().data() {
                Data::Picture { .. } => PICTURES,
                Data::Point { .. } => POINTS,
            },
            walk: 0,
        }
    }

    /// Pictures, points or frames of a walk in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stops() * usize::from(self.walk.max(1))
    }

    /// The same without the frames in between.
    fn stops(&self) -> usize {
        match self.classes.len() {
            0 => self.count.into(),
            classes => classes,
        }
    }

    /// The noise of a picture, if this is a walk.
    #[must_use]
    pub fn frame(&self, picture: usize) -> Option<Frame> {
        let walk = Walk {
            seed: self.seed,
            first: 0,
            stops: self.stops() as u16,
            frames: self.walk,
        };
        (self.walk > 0).then(|| walk.frame(picture as u32))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The words that the firmware reads.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let classes: Vec<_> = self.classes.iter().map(u8::to_string).collect();
        let mut words = vec![
            format!("seed={}", self.seed),
            format!("steps={}", self.steps),
            format!("sampler={}", self.method.name()),
            format!("spacing={}", self.spacing.name()),
            format!("guidance={}", self.guidance),
            match classes.is_empty() {
                true => format!("count={}", self.count),
                false => format!("classes={}", classes.join(",")),
            },
        ];
        if self.walk > 0 {
            words.push(format!("walk={}", self.walk));
        }
        if let Method::Ddim { eta } = self.method {
            words.push(format!("eta={eta}"));
        }
        words
    }

    /// The sampler's settings for a picture.
    #[must_use]
    pub fn settings(&self, picture: usize) -> Settings {
        let frame = self.frame(picture);
        let stop = frame.map_or(picture, |frame| frame.nearest() as usize);
        Settings::new(self.method, self.steps)
            .class(self.classes.get(stop).copied())
            .seed(self.seed)
            // A walk's frames share all noise but x_T.
            .picture(if frame.is_some() { 0 } else { picture as u64 })
            .guidance(self.guidance)
            .spacing(self.spacing)
    }

    /// Checks against the model, before anything is built.
    ///
    /// # Errors
    /// Names the value that is out of range.
    pub fn check(&self, model: &Model<'_>) -> Result<()> {
        let classes = model.topology().classes;
        if let Some(class) = self.classes.iter().find(|&&c| u16::from(c) >= classes) {
            bail!("class {class}: the model has {classes}, counted from 0");
        }
        if classes == 0 {
            // Classes were refused above: there are none below 0.
            if self.count == 0 {
                bail!("0 pictures: must be at least 1");
            }
        } else if self.classes.is_empty() || self.classes.len() > MAX_PICTURES.into() {
            let count = self.classes.len();
            bail!("{count} classes: must be 1 to {MAX_PICTURES}");
        }
        if model.is_conditional_only() && self.guidance != 0.0 {
            bail!(
                "guidance {}: the model was only trained with a class, and cannot be guided",
                self.guidance
            );
        }
        if self.walk > 0 && matches!(model.topology().data(), Data::Point { .. }) {
            bail!("a walk leads from picture to picture, and this model draws points");
        }
        if self.len() > usize::from(u16::MAX) {
            bail!("{} frames: must be at most {}", self.len(), u16::MAX);
        }
        self.settings(0).validate(&model.schedule())?;
        Ok(())
    }
}

/// Reads a blob's bytes.
///
/// # Errors
/// If there is no such file.
pub fn read_blob(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("the model {} cannot be read", path.display()))
}

/// Loads a model from a blob's bytes.
///
/// # Errors
/// If they are no model.
pub fn load<'b>(path: &Path, blob: &'b [u8]) -> Result<Model<'b>> {
    // The error tells its causes by itself.
    Model::load(blob).map_err(|error| anyhow!("{} is no sound model: {error}", path.display()))
}
