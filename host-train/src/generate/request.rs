//! What to generate.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use tiny_ddpm::blob::records::Recommended;
use tiny_ddpm::diffusion::latent_walk::{Frame, Walk};
use tiny_ddpm::{
    Buffers, Data, Method, Model, Sampler, Schedule, Settings, SettingsError, Spacing,
};

/// Points of a request that does not say how many.
const POINTS: usize = 2000;

/// Most pictures of one request.
const MAX_COUNT: usize = 1_000_000;
/// Pictures of a request that does not say how many.
const DEFAULT_COUNT: usize = 16;

/// What the pictures should show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Classes {
    /// One class after the other, over and over: equal shares.
    All,
    /// The same class in all.
    One(u32),
    /// Whatever the network makes of the noise.
    None,
}

impl FromStr for Classes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => text
                .parse()
                .map(Self::One)
                .map_err(|_| "must be a class's number, `all` or `none`".to_owned()),
        }
    }
}

impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::One(class) => class.fmt(f),
            Self::None => f.write_str("none"),
        }
    }
}

/// Everything that, with a model, fixes a set of pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// How many.
    pub count: usize,
    /// Frames from each picture to the next, of a [walk](tiny_ddpm::Walk). The
    /// pictures of the request are then all of its frames.
    pub walk: Option<NonZeroU16>,
    /// Number of the first under the seed. Noise and class follow from a
    /// picture's number, however many are drawn.
    pub first: u64,
    /// What they should show.
    pub classes: Classes,
    /// How x_s is drawn from x_t.
    pub method: Method,
    /// Timesteps visited, 1 to T.
    pub steps: u16,
    /// Which timesteps these are.
    pub spacing: Spacing,
    /// Classifier-free guidance, 0 to 100.
    pub guidance: f32,
    /// Whether x̂_0 is cut to [-1, 1] at every step.
    pub clip: bool,
    /// Seed of all noise.
    pub seed: u64,
}

/// What a model cannot be asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// No pictures, or too many.
    Count(usize),
    /// Numbers of pictures that a `u64` does not hold.
    First(u64),
    /// A class that the model does not know.
    Class {
        /// The class.
        found: u32,
        /// Classes of the model, counted from 0.
        classes: u16,
    },
    /// No class or guidance, of a model that was only trained with a class.
    ConditionalOnly,
    /// Something about how to sample.
    Settings(SettingsError),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count} pictures: must be 1 to {MAX_COUNT}"),
            Self::First(first) => write!(
                f,
                "picture {first}: the last picture's number would be above {}",
                u64::MAX
            ),
            Self::Class { found, classes: 0 } => {
                write!(f, "class {found}: the model has no classes, only `none`")
            }
            Self::Class { found, classes } => {
                let last = classes - 1;
                write!(f, "class {found}: must be 0 to {last}, `all` or `none`")
            }
            Self::ConditionalOnly => f.write_str(
                "the model was only trained with a class (class_dropout = 0): name a class instead of `none`, and set guidance to 0",
            ),
            Self::Settings(error @ SettingsError::GuidanceWithoutClass) => {
                write!(f, "{error}: name one, or set guidance to 0")
            }
            Self::Settings(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RequestError {}

impl From<SettingsError> for RequestError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl Request {
    /// What is recommended for a model of `known` classes, by DDIM: for classes
    /// of one's choice or for all, one picture of each, or 16 of one or none; of
    /// points 2000.
    #[must_use]
    pub fn recommended(
        data: Data,
        recommended: Recommended,
        known: u16,
        classes: Option<Classes>,
    ) -> Self {
        let all = match known {
            0 => Classes::None,
            _ => Classes::All,
        };
        let classes = classes.unwrap_or(all);
        Self {
            count: match (classes, known) {
                _ if matches!(data, Data::Point { .. }) => POINTS,
                (Classes::All, count @ 1..) => count.into(),
                _ => DEFAULT_COUNT,
            },
            walk: None,
            first: 0,
            classes,
            method: Method::Ddim {
                eta: recommended.eta,
            },
            steps: recommended.steps,
            spacing: Spacing::default(),
            guidance: match classes {
                Classes::None => 0.0,
                _ => recommended.guidance,
            },
            clip: true,
            seed: 1,
        }
    }

    /// Checks everything that can be wrong.
    ///
    /// # Errors
    /// The first [`RequestError`] found.
    pub fn validate(&self, model: &Model<'_>) -> Result<(), RequestError> {
        if model.is_conditional_only() {
            self.validate_with_class()?;
        }
        self.validate_for(model.topology().classes, &model.schedule())
    }

    /// Checks what a model that was only trained with a class cannot do.
    ///
    /// # Errors
    /// [`RequestError::ConditionalOnly`] for pictures without a class and for
    /// guidance.
    pub fn validate_with_class(&self) -> Result<(), RequestError> {
        if self.classes == Classes::None || self.guidance != 0.0 {
            return Err(RequestError::ConditionalOnly);
        }
        Ok(())
    }

    /// The same for any model with these classes and this schedule.
    ///
    /// # Errors
    /// The first [`RequestError`] found.
    pub fn validate_for(&self, classes: u16, schedule: &Schedule) -> Result<(), RequestError> {
        if self.count == 0 || self.count > MAX_COUNT {
            return Err(RequestError::Count(self.count));
        }
        if let Some(frames) = self.walk
            && self.count / usize::from(frames.get()) > usize::from(u16::MAX)
        {
            return Err(RequestError::Count(self.count));
        }
        if self.first.checked_add(self.count as u64).is_none() {
            return Err(RequestError::First(self.first));
        }
        let wanted = match self.classes {
            Classes::All => Some(0),
            Classes::One(class) => Some(class),
            Classes::None => None,
        };
        if let Some(found) = wanted
            && found >= u32::from(classes)
        {
            return Err(RequestError::Class { found, classes });
        }
        self.settings(0, classes).validate(schedule)?;
        Ok(())
    }

    /// Steps that a sampler counts for a picture.
    #[must_use]
    pub fn rounds(&self) -> u16 {
        self.method.evaluations(self.steps)
    }

    /// The number under the seed of the picture at `index` of the request.
    #[must_use]
    pub fn number(&self, index: usize) -> u64 {
        self.first.saturating_add(index as u64)
    }

    /// The class of the picture at `index` of the request, of a model with
    /// `classes` classes.
    #[must_use]
    pub fn class_of(&self, index: usize, classes: u16) -> Option<u8> {
        match self.classes {
            // A model has at most 256 classes, so both fit.
            Classes::All => {
                let shown = self.frame(index).map(|frame| frame.nearest());
                let shown = shown.unwrap_or_else(|| self.number(index));
                let class = shown.checked_rem(classes.into());
                class.map(|class| class as u8)
            }
            Classes::One(class) => Some(class as u8),
            Classes::None => None,
        }
    }

    /// The sampler's settings for the picture at `index` of the request.
    #[must_use]
    pub fn settings(&self, index: usize, classes: u16) -> Settings {
        Settings::new(self.method, self.steps)
            .class(self.class_of(index, classes))
            .seed(self.seed)
            // A walk's frames share all noise but x_T.
            .picture(match self.walk {
                Some(_) => self.first,
                None => self.number(index),
            })
            .guidance(self.guidance)
            .spacing(self.spacing)
            .clip(self.clip)
    }

    /// The noise at `index`, if the request is a walk.
    fn frame(&self, index: usize) -> Option<Frame> {
        let frames = self.walk?.get();
        let walk = Walk {
            seed: self.seed,
            first: self.first,
            stops: (self.count / usize::from(frames)) as u16,
            frames,
        };
        Some(walk.frame(index as u32))
    }

    /// The sampler of the picture at `index` of the request.
    ///
    /// # Errors
    /// Where a setting or a buffer is not as it should be.
    pub fn sampler<'b>(
        &self,
        schedule: Schedule,
        index: usize,
        classes: u16,
        buffers: Buffers<'b>,
    ) -> Result<Sampler<'b>, SettingsError> {
        let settings = self.settings(index, classes);
        match self.frame(index) {
            Some(frame) => {
                frame.fill(buffers.x);
                Sampler::from_noise(schedule, settings, buffers)
            }
            None => Sampler::new(schedule, settings, buffers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_from_text() {
        assert_eq!("all".parse(), Ok(Classes::All));
        assert_eq!("none".parse(), Ok(Classes::None));
        assert_eq!("12".parse(), Ok(Classes::One(12)));
        for wrong in ["", "seven", "-1", "1.5", "All"] {
            assert!(wrong.parse::<Classes>().is_err(), "{wrong}");
        }
    }
}
