//! The part that all samplers share: the sequence of timesteps, the update of a
//! pixel, and the noise between updates.
//!
//! Only the number of normal values drawn so far is kept. The generator is made
//! anew at each step, so it takes no memory while a network runs.

use super::consistency::Consistency;
use super::ddim::Ddim;
use super::ddpm::Ddpm;
use super::dpm_solver::DpmSolver;
use super::euler_maruyama::EulerMaruyama;
use super::heun::Heun;
use super::method::Method;
use super::settings::Settings;
use super::unipc::UniPc;
use crate::diffusion::noise::Noise;
use crate::diffusion::prediction::Prediction;
use crate::diffusion::prediction::signal_and_noise;
use crate::diffusion::schedule::Schedule;
use crate::diffusion::schedule::Transition;

/// A step that was made: what followed from one answer of the denoiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Step {
    /// Its number, from 1.
    pub index: u16,
    /// Steps in all: [`Method::evaluations`].
    pub of: u16,
    /// The timestep that x had before the step, and that was asked for.
    pub timestep: u16,
}

/// The way from x_T to x_0.
#[derive(Clone, Debug)]
pub(super) struct Trajectory {
    schedule: Schedule,
    pub settings: Settings,
    /// Normal values drawn so far.
    drawn: u64,
    /// Times that the denoiser was asked.
    done: u16,
    /// Timesteps left behind.
    visited: u16,
    /// t and s; t is 0 in the end.
    pair: (u16, u16),
    /// From t to s. Kept, since a linear schedule multiplies its way to every ᾱ.
    transition: Transition,
    /// Whether x is no longer x_t but Heun's x'.
    halfway: bool,
    /// ᾱ of the timesteps before t, the last one first.
    behind: [Option<f64>; 2],
}

/// The update of x that follows from one prediction.
#[derive(Clone, Debug)]
pub(super) struct Update {
    /// The timestep that it is asked for.
    pub timestep: u16,
    prediction: Prediction,
    /// sqrt(ᾱ) and sqrt(1 - ᾱ) there.
    levels: (f32, f32),
    clip: bool,
    /// ᾱ_t.
    alpha_bar: f64,
    rule: Rule,
}

#[derive(Clone, Copy, Debug)]
enum Rule {
    Ddpm(Ddpm),
    Ddim(Ddim),
    EulerMaruyama(EulerMaruyama),
    Heun(Heun),
    DpmSolver(DpmSolver),
    UniPc(UniPc),
    Consistency(Consistency),
}

impl Trajectory {
    /// From noise of so many values. The settings are valid.
    #[inline(never)]
    pub fn start(schedule: Schedule, settings: Settings, values: usize) -> Self {
        let Settings { spacing, steps, .. } = settings;
        let t = spacing.next(&schedule, steps, 0, 0);
        let s = spacing.next(&schedule, steps, 1, t);
        Self {
            schedule,
            settings,
            drawn: values as u64,
            done: 0,
            visited: 0,
            pair: (t, s),
            transition: schedule.transition(t, s),
            halfway: false,
            behind: [None; 2],
        }
    }

    /// Fills `x` with the noise x_T.
    #[inline(never)]
    pub fn draw_noise(&self, x: &mut [f32]) {
        Noise::new(self.settings.seed, self.settings.picture).fill(x);
    }

    /// The timestep that the denoiser is asked for next; 0 in the end.
    pub fn timestep(&self) -> u16 {
        let (t, s) = self.pair;
        if self.halfway { s } else { t }
    }

    /// The next update; `None` at the end.
    #[inline(never)]
    pub fn next_update(&self, prediction: Prediction) -> Option<Update> {
        let (timestep, transition) = (self.timestep(), self.transition);
        if self.pair.0 == 0 {
            return None;
        }
        let Transition {
            alpha_bar,
            alpha_bar_prev,
        } = transition;
        let there = if self.halfway {
            alpha_bar_prev
        } else {
            alpha_bar
        };
        Some(Update {
            timestep,
            prediction,
            levels: signal_and_noise(there),
            clip: self.settings.clip,
            alpha_bar,
            rule: match self.settings.method {
                Method::Ddpm { variance } => Rule::Ddpm(Ddpm::new(&transition, variance)),
                Method::Ddim { eta } => Rule::Ddim(Ddim::new(&transition, eta)),
                Method::EulerMaruyama => Rule::EulerMaruyama(EulerMaruyama::new(&transition)),
                Method::Heun => Rule::Heun(Heun::new(&transition, !self.halfway)),
                Method::DpmSolver => Rule::DpmSolver(DpmSolver::new(&transition, self.behind[0])),
                Method::UniPc { order } => Rule::UniPc(UniPc::new(&transition, self.behind, order)),
                Method::Consistency => Rule::Consistency(Consistency::new(&transition)),
            },
        })
    }

    /// Adds the noise to `x`, which is then x_s or x'.
    pub fn finish(&mut self, update: &Update, x: &mut [f32]) -> Step {
        self.add_noise(update.sigma(), x);
        self.done += 1;
        self.halfway = matches!(&update.rule, Rule::Heun(rule) if rule.is_half());
        if !self.halfway {
            self.go_on(update.alpha_bar);
        }
        let Settings { method, steps, .. } = self.settings;
        Step {
            index: self.done,
            of: method.evaluations(steps),
            timestep: update.timestep,
        }
    }

    /// x is x_s: s becomes t.
    #[inline(never)]
    fn go_on(&mut self, alpha_bar: f64) {
        let (Settings { spacing, steps, .. }, (_, t)) = (self.settings, self.pair);
        self.behind = [Some(alpha_bar), self.behind[0]];
        self.visited += 1;
        let next = self.visited.saturating_add(1);
        let s = spacing.next(&self.schedule, steps, next, t);
        self.pair = (t, s);
        self.transition = Transition {
            alpha_bar: self.transition.alpha_bar_prev,
            alpha_bar_prev: self.schedule.alpha_bar(s),
        };
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

impl Update {
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

    /// x_s or x' of pixel `at`, without its noise.
    #[inline]
    pub fn next(&self, x: f32, x0_hat: f32, history: &mut [f32], at: usize) -> f32 {
        let mut none = 0.0;
        match &self.rule {
            Rule::Ddpm(rule) => rule.mean(x, x0_hat),
            Rule::Ddim(rule) => rule.mean(x, x0_hat),
            Rule::EulerMaruyama(rule) => rule.mean(x, x0_hat),
            Rule::Consistency(rule) => rule.mean(x0_hat),
            Rule::Heun(rule) => rule.next(x, x0_hat, history.get_mut(at).unwrap_or(&mut none)),
            Rule::DpmSolver(rule) => rule.next(x, x0_hat, history.get_mut(at).unwrap_or(&mut none)),
            Rule::UniPc(rule) => rule.next(x, x0_hat, history, at),
        }
    }

    fn sigma(&self) -> f32 {
        match &self.rule {
            Rule::Ddpm(rule) => rule.sigma,
            Rule::Ddim(rule) => rule.sigma,
            Rule::EulerMaruyama(rule) => rule.sigma,
            Rule::Consistency(rule) => rule.sigma,
            Rule::Heun(_) | Rule::DpmSolver(_) | Rule::UniPc(_) => 0.0,
        }
    }
}
