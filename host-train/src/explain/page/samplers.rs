//! The names of samplers, and their equations.

use tiny_ddpm::{Method, SolverOrder, Variance};

/// A sampler's name, and what it cost.
pub fn heading(method: Method, steps: u16, runs: usize) -> String {
    let runs = match runs {
        1 => "one run".to_owned(),
        runs => format!("{runs} runs"),
    };
    format!("{}: {runs} of the network", called(method, steps))
}

/// Its name and number of steps, as plain text.
pub fn called(method: Method, steps: u16) -> String {
    let name = match method {
        Method::Ddpm {
            variance: Variance::Posterior,
        } => "DDPM with the posterior variance".to_owned(),
        Method::Ddpm {
            variance: Variance::Beta,
        } => "DDPM with the variance β".to_owned(),
        Method::Ddim { eta } => format!("DDIM with η = {eta}"),
        Method::EulerMaruyama => "Euler-Maruyama".to_owned(),
        Method::Heun => "Heun".to_owned(),
        Method::DpmSolver => "DPM-Solver++(2M)".to_owned(),
        Method::UniPc {
            order: SolverOrder::First,
        } => "UniPC of first order".to_owned(),
        Method::UniPc { .. } => "UniPC".to_owned(),
        Method::Consistency => "consistency sampling".to_owned(),
        _ => "another sampler".to_owned(),
    };
    match steps {
        1 => format!("{name} in one step"),
        steps => format!("{name} in {steps} steps"),
    }
}

/// How x_s follows from x_t, as HTML with LaTeX; alpha and beta are those of
/// the step from t to s, z is fresh noise.
pub fn rule_of(method: Method) -> &'static str {
    match method {
        Method::Ddpm {
            variance: Variance::Posterior,
        } => r"$$x_s = \tilde\mu(x_t, \hat x_0) + \sigma z$$ $$\sigma^2 = \tilde\beta$$",
        Method::Ddpm { .. } => {
            r"$$x_s = \tilde\mu(x_t, \hat x_0) + \sigma z$$ $$\sigma^2 = \beta = 1 - \frac{\bar\alpha_t}{\bar\alpha_s}$$"
        }
        Method::Ddim { eta: 0.0 } => {
            r"$$x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1 - \bar\alpha_s}\,\hat\varepsilon$$ $$\hat\varepsilon = \frac{x_t - \sqrt{\bar\alpha_t}\,\hat x_0}{\sqrt{1 - \bar\alpha_t}}$$"
        }
        Method::Ddim { .. } => {
            r"$$x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1 - \bar\alpha_s - \sigma^2}\,\hat\varepsilon + \sigma z$$ $$\sigma^2 = \eta^2 \tilde\beta$$"
        }
        Method::EulerMaruyama => {
            r"$$x_s = x_t + \frac{B}{2} \left(x_t - \frac{2 \hat\varepsilon}{\sqrt{1 - \bar\alpha_t}}\right) + \sqrt{B}\,z$$ $$B = \ln \frac{\bar\alpha_s}{\bar\alpha_t}$$"
        }
        Method::Heun => {
            r"$$x_s = x_t + \frac{h}{2} \left(\hat v(x_t, t) + \hat v(x', s)\right)$$ $$x' = x_t + h\,\hat v(x_t, t)$$ $$\hat v = \frac{dx}{d\varphi}, \quad h = \varphi_s - \varphi_t, \quad \cos^2 \varphi_t = \bar\alpha_t$$"
        }
        Method::DpmSolver => {
            r"$$x_s = \frac{\sigma_s}{\sigma_t} x_t + \sqrt{\bar\alpha_s} \left((1 - e^{-h})\,\hat x_0 + (h - 1 + e^{-h})\,d\right)$$ $$h = \lambda_s - \lambda_t, \quad \lambda_t = \ln \frac{\sqrt{\bar\alpha_t}}{\sigma_t}, \quad \sigma_t^2 = 1 - \bar\alpha_t$$ $$d = \frac{\hat x_0(x_t, t) - \hat x_0(x_r, r)}{\lambda_t - \lambda_r}, \quad r \to t \text{ is the step before}$$"
        }
        Method::UniPc {
            order: SolverOrder::First,
        } => {
            r"$$x_s = \frac{\sigma_s}{\sigma_t} x_t^c + \sqrt{\bar\alpha_s} (1 - e^{-h})\,\hat x_0$$ $$x_t^c = x_t + \sqrt{\bar\alpha_t} (h_r - 1 + e^{-h_r})\,d$$ $$h = \lambda_s - \lambda_t, \quad h_r = \lambda_t - \lambda_r, \quad \lambda_t = \ln \frac{\sqrt{\bar\alpha_t}}{\sigma_t}, \quad \sigma_t^2 = 1 - \bar\alpha_t$$ $$d = \frac{\hat x_0(x_t, t) - \hat x_0(x_r, r)}{h_r}, \quad r \to t \text{ is the step before}$$"
        }
        Method::UniPc { .. } => {
            r"$$x_s = \frac{\sigma_s}{\sigma_t} x_t^c + \sqrt{\bar\alpha_s} \left((1 - e^{-h})\,\hat x_0 + (h - 1 + e^{-h})\,d\right)$$ $$x_t^c = x_t + \sqrt{\bar\alpha_t} \, \frac{d - d_r}{\lambda_t - \lambda_q} \int_{\lambda_r}^{\lambda_t} e^{\lambda - \lambda_t} (\lambda - \lambda_r) (\lambda - \lambda_q)\,d\lambda$$ $$h = \lambda_s - \lambda_t, \quad \lambda_t = \ln \frac{\sqrt{\bar\alpha_t}}{\sigma_t}, \quad \sigma_t^2 = 1 - \bar\alpha_t$$ $$d = \frac{\hat x_0(x_t, t) - \hat x_0(x_r, r)}{\lambda_t - \lambda_r}, \quad d_r \text{ is that of } r, \quad q \to r \to t \text{ are the steps before}$$"
        }
        Method::Consistency => {
            r"$$x_s = \sqrt{\bar\alpha_s}\,\hat x_0 + \sqrt{1 - \bar\alpha_s}\,z$$"
        }
        _ => "",
    }
}
