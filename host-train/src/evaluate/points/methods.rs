//! The samplers that are compared.

use tiny_ddpm::Method;

/// A sampler with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// As reports call it.
    pub name: String,
    /// How x_s is drawn from x_t.
    pub method: Method,
}

/// Every sampler that there is, by its name on the command line, and DDIM with
/// all its noise.
#[must_use]
pub fn samplings() -> Vec<Sampling> {
    let named = |name| Method::from_name(name, 0.0).map(sampling);
    let noisy = sampling(Method::Ddim { eta: 1.0 });
    let named = Method::NAMES.into_iter().filter_map(named);
    named.chain([noisy]).collect()
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
        assert_eq!(all.len(), Method::NAMES.len() + 1);
        for (index, sampling) in all.iter().enumerate() {
            let others = &all[index + 1..];
            assert!(others.iter().all(|other| other.name != sampling.name));
        }
        assert!(all.iter().any(|sampling| sampling.name == "ddim, eta 1"));
    }
}
