//! What to generate: words like `seed=7 steps=10 classes=3,5`, each with a
//! default, so that an empty line is a request too.

use heapless::Vec;
use tiny_ddpm::blob::records::Recommended;

/// Most pictures of one request.
pub const MAX_PICTURES: usize = 64;

/// What to generate.
pub struct Request {
    /// Seed of all noise.
    pub seed: u64,
    /// Number of the first picture under that seed.
    pub first: u64,
    /// DDIM's settings.
    pub sampling: Recommended,
    /// The class of each picture.
    pub classes: Vec<Option<u8>, MAX_PICTURES>,
}

/// What was wrong with a request.
#[derive(Clone, Copy, defmt::Format)]
pub enum RequestError<'a> {
    /// A word that is not `name=value` with a known name.
    Unknown(&'a str),
    /// A value that is not a number in range.
    Value(&'a str),
    /// A class that the model does not have.
    Class { class: u8, classes: u16 },
    /// More than [`MAX_PICTURES`].
    TooMany,
}

impl Request {
    /// Reads a request to a model with `classes` classes. Default are one
    /// picture of each class, or ten of a model without classes, with the
    /// settings that the model's makers recommend.
    pub fn parse(
        text: &str,
        recommended: Recommended,
        classes: u16,
    ) -> Result<Self, RequestError<'_>> {
        let mut request = Self {
            seed: 1,
            first: 0,
            sampling: recommended,
            classes: Vec::new(),
        };
        for word in text.split_ascii_whitespace() {
            let (name, value) = word.split_once('=').ok_or(RequestError::Unknown(word))?;
            let sampling = &mut request.sampling;
            match name {
                "seed" => request.seed = number(word, value)?,
                "first" => request.first = number(word, value)?,
                "steps" => sampling.steps = number(word, value)?,
                "guidance" => sampling.guidance = number(word, value)?,
                "eta" => sampling.eta = number(word, value)?,
                "classes" => {
                    for class in value.split(',') {
                        let class = number(word, class)?;
                        if u16::from(class) >= classes {
                            return Err(RequestError::Class { class, classes });
                        }
                        request.add(Some(class))?;
                    }
                }
                _ => return Err(RequestError::Unknown(word)),
            }
        }
        if request.classes.is_empty() {
            match classes {
                0 => (0..10).try_for_each(|_| request.add(None))?,
                _ => (0..classes.min(256)).try_for_each(|class| request.add(Some(class as u8)))?,
            }
        }
        Ok(request)
    }

    fn add<'a>(&mut self, class: Option<u8>) -> Result<(), RequestError<'a>> {
        self.classes.push(class).map_err(|_| RequestError::TooMany)
    }
}

fn number<'a, T: core::str::FromStr>(word: &'a str, value: &str) -> Result<T, RequestError<'a>> {
    value.parse().map_err(|_| RequestError::Value(word))
}
