//! The samplers that are compared.

use tiny_ddpm::Method;

use crate::generate::for_denoisers;

/// A sampler with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// As reports call it.
    pub name: String,
    /// How x_s is drawn from x_t.
    pub method: Method,
}

/// Every sampler for a denoiser, by its name on the command line, and DDIM with
/// all its noise.
#[must_use]
pub fn samplings() -> Vec<Sampling> {
    let noisy = Method::Ddim { eta: 1.0 };
    for_denoisers().chain([noisy]).map(sampling).collect()
}

/// One of them.
#[must_use]
pub fn sampling(method: Method) -> Sampling {
    let name = method.name();
    Sampling {
        name: match method {
            Method::Ddim { eta } if eta != 0.0 => format!("{name}, eta {eta}"),
            _ => name.to_owned(),
        },
        method,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sampler_is_there_once() {
        let all = samplings();
        assert_eq!(all.len(), for_denoisers().count() + 1);
        for (index, sampling) in all.iter().enumerate() {
            let others = &all[index + 1..];
            assert!(others.iter().all(|other| other.name != sampling.name));
        }
        assert!(all.iter().any(|sampling| sampling.name == "ddim, eta 1"));
    }
}
