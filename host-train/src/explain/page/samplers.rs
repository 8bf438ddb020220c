//! The names of samplers, and their equations.

use tiny_ddpm::{Method, Variance};

use super::html::root;

/// A sampler's name, and what it cost.
pub fn heading(method: Method, steps: u16, runs: usize) -> String {
    let runs = match runs {
        1 => "one run".to_owned(),
        runs => format!("{runs} runs"),
    };
    format!("{}: {runs} of the network", called(method, steps))
}

/// Its name and number of steps.
pub fn called(method: Method, steps: u16) -> String {
    let name = match method {
        Method::Ddpm {
            variance: Variance::Posterior,
        } => "DDPM with the variance β̃".to_owned(),
        Method::Ddpm {
            variance: Variance::Beta,
        } => "DDPM with the variance β".to_owned(),
        Method::Ddim { eta } => format!("DDIM with η = {eta}"),
        Method::EulerMaruyama => "Euler-Maruyama".to_owned(),
        Method::Heun => "Heun".to_owned(),
        Method::DpmSolver => "DPM-Solver++(2M)".to_owned(),
        _ => "another sampler".to_owned(),
    };
    match steps {
        1 => format!("{name} in one step"),
        steps => format!("{name} in {steps} steps"),
    }
}

/// How x_s follows from x_t; α and β are those of the step from t to s.
pub fn rule_of(method: Method) -> String {
    let (bar_s, bar_t) = ("ᾱ<sub>s</sub>", "ᾱ<sub>t</sub>");
    match method {
        Method::Ddpm { variance } => {
            let sigma = match variance {
                Variance::Posterior => "β̃",
                Variance::Beta => "β = 1 − ᾱ<sub>t</sub> / ᾱ<sub>s</sub>",
            };
            format!("x<sub>s</sub> = μ̃(x<sub>t</sub>, x̂<sub>0</sub>) + σ z, &emsp; σ² = {sigma}")
        }
        Method::Ddim { eta } => {
            let signal = root(bar_s);
            match eta {
                0.0 => format!(
                    "x<sub>s</sub> = {signal} x̂<sub>0</sub> + {} ε̂, &emsp; ε̂ = (x<sub>t</sub> − {} x̂<sub>0</sub>) / {}",
                    root(&format!("1 − {bar_s}")),
                    root(bar_t),
                    root(&format!("1 − {bar_t}"))
                ),
                _ => format!(
                    "x<sub>s</sub> = {signal} x̂<sub>0</sub> + {} ε̂ + σ z, &emsp; σ² = η² β̃",
                    root(&format!("1 − {bar_s} − σ²"))
                ),
            }
        }
        Method::EulerMaruyama => format!(
            "x<sub>s</sub> = x<sub>t</sub> + ½ B (x<sub>t</sub> − 2 ε̂ / {}) + {} z, &emsp; B = ln(ᾱ<sub>s</sub> / ᾱ<sub>t</sub>)",
            root(&format!("1 − {bar_t}")),
            root("B")
        ),
        Method::Heun => "x<sub>s</sub> = x<sub>t</sub> + ½ h (v̂(x<sub>t</sub>, t) + v̂(x′, s)), &emsp; x′ = x<sub>t</sub> + h v̂(x<sub>t</sub>, t), &emsp; v̂ = dx/dφ, &emsp; h = φ<sub>s</sub> − φ<sub>t</sub>, &emsp; cos² φ<sub>t</sub> = ᾱ<sub>t</sub>".to_owned(),
        Method::DpmSolver => format!(
            "x<sub>s</sub> = (σ<sub>s</sub> / σ<sub>t</sub>) x<sub>t</sub> + {} (1 − e<sup>−h</sup>) D, &emsp; h = λ<sub>s</sub> − λ<sub>t</sub>, &emsp; λ<sub>t</sub> = ln({} / σ<sub>t</sub>), &emsp; σ<sub>t</sub>² = 1 − {bar_t}; &emsp; D: x̂<sub>0</sub>, carried on along the line from the x̂<sub>0</sub> of the step before",
            root(bar_s),
            root(bar_t)
        ),
        _ => String::new(),
    }
}
