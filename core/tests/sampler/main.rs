//! The samplers over denoisers whose answer is known: no network.

mod bound;
mod gaussian;
mod marginals;
mod order;
mod settings;
mod spacing;
mod steps;

use tiny_ddpm::{
    Buffers, Denoiser, Method, Prediction, Sampler, Schedule, ScheduleKind, Settings, SolverOrder,
    Variance,
};

const METHODS: [Method; 11] = [
    Method::Ddpm {
        variance: Variance::Beta,
    },
    Method::Ddpm {
        variance: Variance::Posterior,
    },
    Method::Ddim { eta: 0.0 },
    Method::Ddim { eta: 0.5 },
    Method::Ddim { eta: 1.0 },
    Method::EulerMaruyama,
    Method::Heun,
    Method::DpmSolver,
    UNIPC_1,
    UNIPC,
    Method::Consistency,
];

const UNIPC_1: Method = Method::UniPc {
    order: SolverOrder::First,
};
const UNIPC: Method = Method::UniPc {
    order: SolverOrder::Second,
};

/// Those that want the mean E\[x_0 | x_t\], which a denoiser predicts.
fn of_denoisers() -> impl Iterator<Item = Method> {
    METHODS
        .into_iter()
        .filter(|&method| method != Method::Consistency)
}

const PREDICTIONS: [Prediction; 3] = [Prediction::Epsilon, Prediction::X0, Prediction::V];

fn linear() -> Schedule {
    Schedule::new(ScheduleKind::LINEAR, 1000).unwrap()
}

fn cosine() -> Schedule {
    Schedule::new(ScheduleKind::Cosine, 1000).unwrap()
}

/// DDIM without noise, clipping or guidance; the first picture of seed 1.
fn plain(steps: u16) -> Settings {
    Settings::new(Method::Ddim { eta: 0.0 }, steps)
        .seed(1)
        .clip(false)
}

/// Every buffer of a sampler. What they hold at first must not matter.
struct History([Vec<f32>; 4]);

impl History {
    fn new(pixels: usize) -> Self {
        // Of history more than any method needs.
        Self([1, 1, 1, 3].map(|pictures| vec![f32::NAN; pictures * pixels]))
    }

    fn buffers(&mut self) -> Buffers<'_> {
        let [x, x0_hat, unconditional, history] = &mut self.0;
        Buffers {
            x,
            x0_hat,
            unconditional,
            history,
        }
    }
}

/// A whole run: x_0.
fn generate<D>(schedule: Schedule, settings: Settings, denoiser: &mut D, pixels: usize) -> Vec<f32>
where
    D: Denoiser<Error: std::fmt::Debug>,
{
    let mut history = History::new(pixels);
    let mut sampler = Sampler::new(schedule, settings, history.buffers()).unwrap();
    while sampler.step(denoiser).unwrap().is_some() {}
    sampler.x().to_vec()
}

/// The exact predictor of pixels that are independent N(`mean`, `deviation`²):
/// E\[x_0 | x_t\], or the ε or v that follows from it.
#[derive(Clone, Copy)]
struct Gaussian {
    schedule: Schedule,
    prediction: Prediction,
    mean: f64,
    deviation: f64,
}

impl Gaussian {
    /// x̂_0 = offset + slope x_t, by the conditional mean of two jointly normal
    /// values.
    fn x0_hat(&self, alpha_bar: f64) -> (f64, f64) {
        let variance = self.deviation * self.deviation;
        let of_x_t = alpha_bar * variance + 1.0 - alpha_bar;
        let slope = alpha_bar.sqrt() * variance / of_x_t;
        (self.mean - slope * alpha_bar.sqrt() * self.mean, slope)
    }
}

impl Denoiser for Gaussian {
    type Error = std::convert::Infallible;

    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn predict(
        &mut self,
        x_t: &[f32],
        timestep: u16,
        _: Option<u8>,
        out: &mut [f32],
    ) -> Result<(), Self::Error> {
        let alpha_bar = self.schedule.alpha_bar(timestep);
        let (signal, noise) = (alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt());
        let (offset, slope) = self.x0_hat(alpha_bar);
        for (out, &x) in out.iter_mut().zip(x_t) {
            let x = f64::from(x);
            let x0_hat = offset + slope * x;
            let epsilon = (x - signal * x0_hat) / noise;
            *out = match self.prediction {
                Prediction::Epsilon => epsilon,
                Prediction::X0 => x0_hat,
                Prediction::V => signal * epsilon - noise * x0_hat,
                other => unimplemented!("{other:?}"),
            } as f32;
        }
        Ok(())
    }
}
