//! How to sample, as a command line says it: the same words in every command.

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use tiny_ddpm::blob::records::Recommended;
use tiny_ddpm::{Method, SolverOrder, Spacing, Variance};

/// What may be said of a sampler.
#[derive(Args, Clone, Debug)]
pub struct SamplingArgs {
    /// Sampling method [default: ddim]
    #[arg(long, value_enum)]
    pub sampler: Option<SamplerName>,
    /// Timestep spacing
    #[arg(long, value_enum, default_value = "trailing")]
    pub spacing: SpacingName,
    /// DDIM's noise, 0 (none) to 1 (as much as DDPM) [default: the model's]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub eta: Option<f32>,
    /// DDPM's noise: beta_t, or the smaller variance of the posterior
    /// [default: posterior]
    #[arg(long, value_enum)]
    pub variance: Option<VarianceName>,
    /// Classifier-free guidance w, 0 (none) to 100: the guidance_scale of other
    /// tools less 1 [default: the model's]
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    pub guidance: Option<f32>,
    /// Seed of all noise
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

/// The samplers by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SamplerName {
    /// Implicit sampling (Song et al. 2021): good in few steps
    Ddim,
    /// Ancestral sampling (Ho et al. 2020) with the posterior's variance
    Ddpm,
    /// The same with variance beta_t
    DdpmBeta,
    /// Euler-Maruyama on the reverse SDE (Song et al. 2021): wants many steps
    EulerMaruyama,
    /// Heun on the probability-flow ODE: runs the network twice a step
    Heun,
    /// DPM-Solver++(2M) (Lu et al. 2022): second order for DDIM's work; with few
    /// steps not for uniform timesteps, where it is worse than DDIM
    DpmSolver,
    /// UniPC of the second order (Zhao et al. 2023): the best in few steps, with
    /// shifted timesteps
    #[value(name = "unipc")]
    UniPc,
    /// UniPC of the first order: remembers one picture instead of two
    #[value(name = "unipc-1")]
    UniPcFirst,
    /// Multistep consistency sampling (Song et al. 2023): for models distilled
    /// to few steps, with the number of steps they were distilled for
    Consistency,
}

/// The rules for timesteps by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SpacingName {
    /// Evenly from T to 1; with few steps not for dpm-solver
    Uniform,
    /// Evenly from T to 0, of which 0 is not visited
    Trailing,
    /// Trailing, moved a little towards the noise
    Shifted,
    /// Denser where there is little noise: as the square
    Quadratic,
    /// Evenly in the logarithm of the signal-to-noise ratio
    LogSnr,
}

/// DDPM's variances by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VarianceName {
    /// β_t
    Beta,
    /// β̃_t
    Posterior,
}

impl SamplingArgs {
    /// The sampler that was asked for.
    ///
    /// # Errors
    /// Where a setting is another sampler's.
    pub fn method(&self, recommended: Recommended) -> Result<Method> {
        let sampler = self.sampler.unwrap_or(SamplerName::Ddim);
        ensure!(
            self.variance.is_none() || sampler == SamplerName::Ddpm,
            "--variance is DDPM's: add --sampler ddpm, or leave it out"
        );
        ensure!(
            self.eta.is_none() || sampler == SamplerName::Ddim,
            "--eta is DDIM's: add --sampler ddim, or leave it out"
        );
        Ok(match (sampler, self.variance) {
            (SamplerName::Ddim, _) => Method::Ddim {
                eta: self.eta.unwrap_or(recommended.eta),
            },
            (SamplerName::DdpmBeta, _) | (SamplerName::Ddpm, Some(VarianceName::Beta)) => {
                Method::Ddpm {
                    variance: Variance::Beta,
                }
            }
            (SamplerName::Ddpm, _) => Method::Ddpm {
                variance: Variance::Posterior,
            },
            (SamplerName::EulerMaruyama, _) => Method::EulerMaruyama,
            (SamplerName::Heun, _) => Method::Heun,
            (SamplerName::DpmSolver, _) => Method::DpmSolver,
            (SamplerName::UniPc, _) => Method::UniPc {
                order: SolverOrder::Second,
            },
            (SamplerName::UniPcFirst, _) => Method::UniPc {
                order: SolverOrder::First,
            },
            (SamplerName::Consistency, _) => Method::Consistency,
        })
    }

    /// The timesteps that were asked for.
    #[must_use]
    pub fn spacing(&self) -> Spacing {
        match self.spacing {
            SpacingName::Uniform => Spacing::Uniform,
            SpacingName::Trailing => Spacing::Trailing,
            SpacingName::Shifted => Spacing::Shifted,
            SpacingName::Quadratic => Spacing::Quadratic,
            SpacingName::LogSnr => Spacing::LogSnr,
        }
    }

    /// Whether a sampler was named.
    #[must_use]
    pub fn names_a_sampler(&self) -> bool {
        self.sampler.is_some() || self.eta.is_some()
    }

    /// Whether anything was said of how to sample, but for the seed.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.sampler.is_none()
            && self.spacing == SpacingName::Trailing
            && self.eta.is_none()
            && self.variance.is_none()
            && self.guidance.is_none()
    }
}

/// Every method for a network that predicts the mean of x_0, DDIM without noise.
/// A network that was distilled to few steps predicts something else, and wants
/// [`Method::Consistency`].
pub fn for_denoisers() -> impl Iterator<Item = Method> {
    Method::NAMES
        .into_iter()
        .filter_map(|name| Method::from_name(name, 0.0))
        .filter(|method| *method != Method::Consistency)
}

/// Sampler, timesteps and noise in words: `heun, quadratic timesteps`.
#[must_use]
pub fn describe(sampler: &str, spacing: &str, eta: Option<f32>) -> String {
    let mut text = sampler.to_owned();
    if let Some(eta) = eta {
        text += &format!(", eta {eta}");
    }
    if spacing != Spacing::default().name() {
        text += &format!(", {spacing} timesteps");
    }
    text
}

/// DDIM's noise, of another method none.
#[must_use]
pub fn eta_of(method: Method) -> Option<f32> {
    match method {
        Method::Ddim { eta } => Some(eta),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        sampling: SamplingArgs,
    }

    const RECOMMENDED: Recommended = Recommended {
        steps: 20,
        guidance: 0.5,
        eta: 0.25,
    };

    fn parse(words: &[&str]) -> SamplingArgs {
        let words = ["sample"].iter().chain(words);
        Cli::try_parse_from(words).map(|cli| cli.sampling).unwrap()
    }

    /// The chip reads the same names.
    #[test]
    fn names_are_core_s() {
        for name in Method::NAMES {
            let found = parse(&["--sampler", name]).method(RECOMMENDED).unwrap();
            assert_eq!(Some(found), Method::from_name(name, RECOMMENDED.eta));
        }
        assert_eq!(SamplerName::value_variants().len(), Method::NAMES.len());
        for spacing in Spacing::ALL {
            assert_eq!(parse(&["--spacing", spacing.name()]).spacing(), spacing);
        }
        assert_eq!(SpacingName::value_variants().len(), Spacing::ALL.len());
    }

    #[test]
    fn ddpm_s_variance_has_two_spellings() {
        let old = parse(&["--sampler", "ddpm", "--variance", "beta"]);
        let new = parse(&["--sampler", "ddpm-beta"]);
        let found = [old, new].map(|args| args.method(RECOMMENDED).unwrap().name());
        assert_eq!(found, ["ddpm-beta"; 2]);
        let posterior = parse(&["--sampler", "ddpm", "--variance", "posterior"]);
        assert_eq!(posterior.method(RECOMMENDED).unwrap().name(), "ddpm");
    }

    #[test]
    fn settings_of_another_sampler_are_refused() {
        for words in [
            &["--eta", "0.5", "--sampler", "heun"],
            &["--variance", "beta", "--sampler", "ddim"],
            &["--variance", "posterior", "--sampler", "ddpm-beta"],
        ] {
            assert!(parse(words).method(RECOMMENDED).is_err(), "{words:?}");
        }
    }

    #[test]
    fn nothing_said_is_ddim_as_recommended() {
        let args = parse(&["--seed", "7"]);
        assert!(args.is_default());
        let method = args.method(RECOMMENDED).unwrap();
        assert_eq!(method, Method::Ddim { eta: 0.25 });
        assert_eq!(
            describe("ddim", "trailing", eta_of(method)),
            "ddim, eta 0.25"
        );
        assert_eq!(describe("heun", "log-snr", None), "heun, log-snr timesteps");
        assert!(!parse(&["--spacing", "uniform"]).is_default());
    }
}
