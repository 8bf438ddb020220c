//! What to generate: words like `seed=7 steps=10 classes=3,5`, each with a
//! default, so that an empty line is a request too.

use heapless::Vec;
use tiny_ddpm::blob::records::Recommended;
use tiny_ddpm::diffusion::latent_walk::{Frame, Walk};
use tiny_ddpm::{InPlaceSampler, Method, Schedule, Settings, SettingsError, Spacing};

/// Most pictures of one request.
pub const MAX_PICTURES: usize = 64;

/// Pictures or points of a model without classes, where nothing is said.
const DEFAULT_COUNT: u16 = 10;

/// What to generate.
pub struct Request {
    /// Seed of all noise.
    pub seed: u64,
    /// Number of the first picture under that seed.
    pub first: u64,
    /// Steps, guidance and DDIM's eta.
    pub sampling: Recommended,
    /// How a step is made.
    pub method: Method,
    /// Which timesteps are visited.
    pub spacing: Spacing,
    /// The class of each picture; of a model without classes nothing.
    pub classes: Vec<u8, MAX_PICTURES>,
    /// How many pictures, points or frames of a walk.
    pub count: u16,
    /// Frames from each picture to the next, of a walk; 0 for none.
    walk: u16,
}

/// What was wrong with a request.
#[derive(Clone, Copy, defmt::Format)]
pub enum RequestError<'a> {
    /// A word that is not `name=value` with a known name.
    Unknown(&'a str),
    /// A value that is not a number in range, or not a known name.
    Value(&'a str),
    /// A class that the model does not have.
    Class { class: u8, classes: u16 },
    /// More than [`MAX_PICTURES`].
    TooMany,
}

impl Request {
    /// Reads a request to a model with `classes` classes. Default are one
    /// picture of each class (of the first [`MAX_PICTURES`]), or of a model
    /// without classes ten, or the `count` asked for, with the settings that the model's makers recommend.
    pub fn parse(
        text: &str,
        recommended: Recommended,
        classes: u16,
    ) -> Result<Self, RequestError<'_>> {
        let mut request = Self {
            seed: 1,
            first: 0,
            sampling: recommended,
            method: Method::Ddim {
                eta: recommended.eta,
            },
            spacing: Spacing::default(),
            classes: Vec::new(),
            count: DEFAULT_COUNT,
            walk: 0,
        };
        for word in text.split_ascii_whitespace() {
            let (name, value) = word.split_once('=').ok_or(RequestError::Unknown(word))?;
            let sampling = &mut request.sampling;
            match name {
                "walk" => request.walk = number(word, value)?,
                "seed" => request.seed = number(word, value)?,
                "first" => request.first = number(word, value)?,
                "steps" => sampling.steps = number(word, value)?,
                "guidance" => sampling.guidance = decimal(word, value)?,
                "eta" => sampling.eta = decimal(word, value)?,
                "count" if classes == 0 => request.count = number(word, value)?,
                "sampler" => {
                    let method = Method::from_name(value, sampling.eta);
                    request.method = method.ok_or(RequestError::Value(word))?;
                }
                "spacing" => {
                    let spacing = Spacing::from_name(value);
                    request.spacing = spacing.ok_or(RequestError::Value(word))?;
                }
                "classes" => {
                    for class in value.split(',') {
                        let class = number(word, class)?;
                        if u16::from(class) >= classes {
                            return Err(RequestError::Class { class, classes });
                        }
                        request.add(class)?;
                    }
                }
                _ => return Err(RequestError::Unknown(word)),
            }
        }
        // Whichever word came first.
        if let Method::Ddim { eta } = &mut request.method {
            *eta = request.sampling.eta;
        }
        if request.classes.is_empty() {
            for class in 0..classes.min(MAX_PICTURES as u16) {
                request.add(class as u8)?;
            }
        }
        if classes > 0 {
            request.count = request.classes.len() as u16;
        }
        request.count = request.count.saturating_mul(request.walk.max(1));
        Ok(request)
    }

    /// The number under the seed of the picture at `index`.
    pub fn number(&self, index: usize) -> u64 {
        self.first.wrapping_add(index as u64)
    }

    /// What the picture at `index` should show.
    pub fn class(&self, index: usize) -> Option<u8> {
        let stop = match self.frame(index) {
            Some(frame) => frame.nearest().wrapping_sub(self.first) as usize,
            None => index,
        };
        self.classes.get(stop).copied()
    }

    /// The noise at `index`, if this is a walk.
    fn frame(&self, index: usize) -> Option<Frame> {
        let walk = Walk {
            seed: self.seed,
            first: self.first,
            stops: self.count.checked_div(self.walk)?,
            frames: self.walk,
        };
        Some(walk.frame(index as u32))
    }

    /// The sampler of the picture at `index`, which it makes in `x`.
    #[inline(never)]
    pub fn sampler<'b>(
        &self,
        schedule: Schedule,
        index: usize,
        x: &'b mut [f32],
        memory: &'b mut [f32],
    ) -> Result<InPlaceSampler<'b>, SettingsError> {
        let frame = self.frame(index);
        let settings = Settings::new(self.method, self.sampling.steps)
            .class(self.class(index))
            .seed(self.seed)
            // A walk's frames share all noise but x_T.
            .picture(match frame {
                Some(_) => self.first,
                None => self.number(index),
            })
            .guidance(self.sampling.guidance)
            .spacing(self.spacing);
        match frame {
            Some(frame) => {
                frame.fill(x);
                InPlaceSampler::from_noise(schedule, settings, x, memory)
            }
            None => InPlaceSampler::new(schedule, settings, x, memory),
        }
    }

    fn add<'a>(&mut self, class: u8) -> Result<(), RequestError<'a>> {
        self.classes.push(class).map_err(|_| RequestError::TooMany)
    }
}

fn number<'a, T: core::str::FromStr>(word: &'a str, value: &str) -> Result<T, RequestError<'a>> {
    value.parse().map_err(|_| RequestError::Value(word))
}

/// A number such as 0.5: at most 15 digits, which leave an `f64` exact. The
/// library's own reading of floats takes 15 KB of flash.
fn decimal<'a>(word: &'a str, value: &'a str) -> Result<f32, RequestError<'a>> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let (mut digits, mut unit) = (0u64, 1u64);
    let characters = whole.bytes().chain(fraction.bytes());
    let count = whole.len() + fraction.len();
    if count == 0 || count > 15 {
        return Err(RequestError::Value(word));
    }
    for character in characters {
        if !character.is_ascii_digit() {
            return Err(RequestError::Value(word));
        }
        digits = 10 * digits + u64::from(character - b'0');
    }
    for _ in 0..fraction.len() {
        unit *= 10;
    }
    Ok((digits as f64 / unit as f64) as f32)
}
