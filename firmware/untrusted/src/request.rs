//! Settings from words that may be anything.

use tiny_ddpm::blob::records::Recommended;
use tiny_ddpm::{Method, Settings, Spacing};

/// What to sample, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Of the sampler, which checks them.
    pub settings: Settings,
    /// Whether the prediction has memory of its own.
    pub apart: bool,
}

impl Request {
    /// `None` if a word is none of those that are known.
    #[inline(never)]
    pub fn parse(words: &str, recommended: &Recommended) -> Option<Self> {
        let mut request = Self {
            settings: Settings::new(
                Method::Ddim {
                    eta: recommended.eta,
                },
                recommended.steps,
            )
            .seed(1)
            .spacing(Spacing::default()),
            apart: false,
        };
        let mut eta = recommended.eta;
        let settings = &mut request.settings;
        for word in words.split_ascii_whitespace() {
            if word == "apart" {
                request.apart = true;
            } else if word == "free" {
                settings.clip = false;
            } else if let Some(method) = Method::from_name(word, eta) {
                settings.method = method;
            } else if let Some(spacing) = Spacing::from_name(word) {
                settings.spacing = spacing;
            } else {
                let (name, value) = word.split_once('=')?;
                match name {
                    "steps" => settings.steps = value.parse().ok()?,
                    "seed" => settings.seed = value.parse().ok()?,
                    "picture" => settings.picture = value.parse().ok()?,
                    "class" => settings.class = Some(value.parse().ok()?),
                    "guidance" => settings.guidance = hundredths(value)?,
                    "eta" => eta = hundredths(value)?,
                    _ => return None,
                }
            }
        }
        Some(request)
    }
}

fn hundredths(value: &str) -> Option<f32> {
    let value: u16 = value.parse().ok()?;
    Some(f32::from(value) / 100.0)
}
