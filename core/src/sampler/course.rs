//! What every sampler does: which steps are made, what a step does to a
//! pixel, and which noise comes in between.
//!
//! Of the noise only its place is kept: the generator is made when it is
//! needed, and takes no memory while a network runs.

use super::ddim::Ddim;
use super::ddpm::Ddpm;
use super::{Method, Settings, Step, respaced};
use crate::noise::Noise;
use crate::prediction::signal_and_noise;
use crate::{Prediction, Schedule};

/// The way from x_T to x_0.
#[derive(Clone, Debug)]
pub(super) struct Course {
    schedule: Schedule,
    pub settings: Settings,
    /// Normal values drawn so far.
    drawn: u64,
    /// Steps made so far.
    done: u16,
}

/// One step of it.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    /// The timestep that x_t has.
    pub timestep: u16,
    prediction: Prediction,
    /// sqrt(ᾱ) and sqrt(1 - ᾱ).
    levels: (f32, f32),
    clip: bool,
    rule: Rule,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Ddim(Ddim),
    Ddpm(Ddpm),
}

impl Course {
    /// Fills `x` with the noise x_T. The settings are valid.
    #[inline(never)]
    pub fn start(schedule: Schedule, settings: Settings, x: &mut [f32]) -> Self {
        Noise::new(settings.seed, settings.picture).fill(x);
        Self {
            schedule,
            settings,
            drawn: x.len() as u64,
            done: 0,
        }
    }

    /// The next step, if there is one left.
    #[inline(never)]
    pub fn next_leg(&self, prediction: Prediction) -> Option<Leg> {
        let (timesteps, of) = (self.schedule.timesteps(), self.settings.steps);
        if self.done >= of {
            return None;
        }
        let timestep = respaced(timesteps, of, self.done);
        let earlier = respaced(timesteps, of, self.done + 1);
        let transition = self.schedule.transition(timestep, earlier);
        Some(Leg {
            timestep,
            prediction,
            levels: signal_and_noise(transition.alpha_bar),
            clip: self.settings.clip,
            rule: match self.settings.method {
                Method::Ddpm { variance } => Rule::Ddpm(Ddpm::new(&transition, variance)),
                Method::Ddim { eta } => Rule::Ddim(Ddim::new(&transition, eta)),
            },
        })
    }

    /// Adds a step's noise to `x`, which is then x_s.
    pub fn finish(&mut self, leg: &Leg, x: &mut [f32]) -> Step {
        self.add_noise(leg.sigma(), x);
        self.done += 1;
        Step {
            index: self.done,
            of: self.settings.steps,
            timestep: leg.timestep,
        }
    }

    /// x + σ z. Nothing is drawn where σ is 0, as at the last step.
    #[inline(never)]
    fn add_noise(&mut self, sigma: f32, x: &mut [f32]) {
        if sigma == 0.0 {
            // Makes 0 of -0.
            x.iter_mut().for_each(|x| *x += 0.0);
            return;
        }
        let Settings { seed, picture, .. } = self.settings;
        let mut noise = Noise::after(seed, picture, self.drawn);
        self.drawn += x.len() as u64;
        for x in x {
            *x += sigma * noise.normal();
        }
    }
}

impl Leg {
    /// x̂_0 of a pixel, cut to [-1, 1] where that is wanted.
    #[inline]
    pub fn x0_hat(&self, x: f32, output: f32) -> f32 {
        let x0_hat = self.prediction.x0_hat(self.levels, x, output);
        if self.clip {
            x0_hat.clamp(-1.0, 1.0)
        } else {
            x0_hat
        }
    }

    /// x_s of a pixel, without its noise.
    #[inline]
    pub fn mean(&self, x: f32, x0_hat: f32) -> f32 {
        match &self.rule {
            Rule::Ddim(rule) => rule.mean(x, x0_hat),
            Rule::Ddpm(rule) => rule.mean(x, x0_hat),
        }
    }

    fn sigma(&self) -> f32 {
        match &self.rule {
            Rule::Ddim(rule) => rule.sigma,
            Rule::Ddpm(rule) => rule.sigma,
        }
    }
}
