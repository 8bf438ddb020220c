//! The samplers that are compared.

use tiny_ddpm::{Method, Variance};

/// A sampler with its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// As reports call it.
    pub name: &'static str,
    /// How x_s is drawn from x_t.
    pub method: Method,
}

/// Every sampler that there is, one row each.
#[must_use]
pub fn samplings() -> Vec<Sampling> {
    let row = |name, method| Sampling { name, method };
    let ddpm = |variance| Method::Ddpm { variance };
    vec![
        row("DDIM", Method::Ddim { eta: 0.0 }),
        row("DDIM, eta 1", Method::Ddim { eta: 1.0 }),
        row("DDPM, posterior variance", ddpm(Variance::Posterior)),
        row("DDPM, beta_t", ddpm(Variance::Beta)),
    ]
}
