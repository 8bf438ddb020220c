//! What the pages of all models have in common: who was asked, the equations of
//! the forward process, the schedule, and what the network is asked for.
//!
//! `what` is the word for x_0: a picture, or data.

use std::fmt::Write;

use anyhow::Result;
use tiny_ddpm::{Prediction, Schedule, ScheduleKind};

use super::Facts;
use super::html::{Strip, computed_by, decibels, equation, head, named, number, paragraph};
use crate::evaluate::report::escaped;
use crate::explain::curves::Curves;
use crate::explain::story::Noised;

/// The model, the schedule, x_0 and the seed.
pub fn introduction(page: &mut String, facts: &Facts<'_>, schedule: &Schedule, first: &str) {
    let rule = match schedule.kind() {
        ScheduleKind::Linear {
            beta_start,
            beta_end,
        } => format!("a linear schedule, β from {beta_start} to {beta_end}"),
        ScheduleKind::Cosine => "a cosine schedule".to_owned(),
        _ => "a schedule of its own".to_owned(),
    };
    let class = match (facts.class, facts.info.topology.classes) {
        (Some(class), _) => format!("; the network is told class {class}"),
        (None, 1..) => "; the network is told no class".to_owned(),
        (None, 0) => String::new(),
    };
    let _ = write!(
        page,
        "<p>{first}</p>\n<p>Each figure below was computed for this page by the functions that run on the chip, and each section names them.</p>\n<ul>\n<li>model: <code>{}</code>, SHA-256 <code>{}</code></li>\n<li>$T$ = {}, {rule}{class}</li>\n<li>$x_0$: {}</li>\n<li>seed of all noise: {}</li>\n</ul>\n",
        escaped(&facts.path),
        facts.sha256,
        schedule.timesteps(),
        escaped(&facts.x_0),
        facts.seed,
    );
}

/// The start of the first chapter.
pub fn forward_process(page: &mut String, what: &str) {
    head(page, "forward", "1. Into the noise: the forward process");
    let _ = writeln!(
        page,
        r"<p>Each step shrinks the {what} a little and adds a little noise. $\beta_t$ says how much; nothing is learned here.</p>"
    );
    equation(
        page,
        r"$$x_t = \sqrt{1 - \beta_t}\,x_{t-1} + \sqrt{\beta_t}\,\varepsilon_t, \quad \varepsilon_t \sim N(0, I)$$",
    );
    paragraph(
        page,
        r"A sum of Gaussians is a Gaussian, so t steps can be made at once, with $\bar\alpha_t = (1 - \beta_1)(1 - \beta_2) \cdots (1 - \beta_t)$. This makes training cheap: any $x_t$ is one line away from $x_0$.",
    );
    equation(
        page,
        r"$$x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1 - \bar\alpha_t}\,\varepsilon$$",
    );
}

/// What each stage of the forward process has of x_0 and of noise.
pub fn forward_figures(strip: &mut Strip, forward: &[Noised]) {
    let x_0 = &forward[0].at_once;
    let figures =
        |value: &dyn Fn(&Noised) -> String| -> Vec<String> { forward.iter().map(value).collect() };
    let rows = [
        (
            r"signal left, $\bar\alpha_t$",
            figures(&|n| number(n.alpha_bar)),
        ),
        ("SNR in dB", figures(&|n| decibels(n.snr))),
        (
            r"noise added, $1 - \bar\alpha_t$",
            figures(&|n| number(1.0 - n.alpha_bar)),
        ),
        (
            "noise found, at once",
            figures(&|n| number(n.measured(&n.at_once, x_0))),
        ),
        (
            "noise found, step by step",
            figures(&|n| number(n.measured(&n.step_by_step, x_0))),
        ),
    ];
    for (name, values) in rows {
        strip.figures(name, values.into_iter());
    }
}

/// What the numbers of [`forward_figures`] say; `over` is what the variance is
/// found over.
pub fn strength_of_noise(page: &mut String, what: &str, over: &str) {
    let _ = writeln!(
        page,
        r"<p>The two rows do not show the same noise, but noise of the same strength: the variance found over {over} is near $1 - \bar\alpha_t$ in both. The signal-to-noise ratio (SNR) is $\bar\alpha_t / (1 - \bar\alpha_t)$; at 0 dB {what} and noise are equally strong.</p>"
    );
    computed_by(
        page,
        &[
            named!(tiny_ddpm::Schedule::alpha_bar),
            named!(tiny_ddpm::Schedule::snr),
            named!(tiny_ddpm::diffusion::prediction::signal_and_noise),
            named!(tiny_ddpm::diffusion::noise::Noise::normal),
        ],
    );
}

/// The start of the chapter on training; `told` is what the network sees
/// beside x_t and t.
pub fn question(page: &mut String, prediction: Prediction, what: &str, told: &str) {
    head(page, "training", "3. What the network is asked: training");
    let (target, asked) = match prediction {
        Prediction::Epsilon => (
            r"\varepsilon",
            r"the noise $\varepsilon$ (noise prediction)".to_owned(),
        ),
        Prediction::X0 => ("x_0", format!("the {what} $x_0$")),
        _ => (
            r"\sqrt{\bar\alpha_t}\,\varepsilon - \sqrt{1 - \bar\alpha_t}\,x_0",
            format!(
                r"$v$, a mixture of the noise $\varepsilon$ and the {what} $x_0$: mostly the noise where there is little of it, mostly the {what} where there is much noise"
            ),
        ),
    };
    let (sees, arguments) = match told {
        "" => ("$x_t$ and $t$".to_owned(), "x_t, t"),
        told => (format!("$x_t$, $t$ and mostly {told}"), "x_t, t, c"),
    };
    let _ = writeln!(
        page,
        r"<p>Training draws a {what}, a $t$ and a noise $\varepsilon$; the network $f$ sees {sees}. This network predicts {asked}. Its output and $x_t$ give $\hat x_0$, the network's estimate of the {what}.</p>"
    );
    equation(
        page,
        &format!(r"$$L = \mathrm{{E}}\,\lVert y - f({arguments}) \rVert^2$$ $$y = {target}$$"),
    );
}

/// The functions that answer it.
pub fn answered_by(page: &mut String) {
    computed_by(
        page,
        &[
            named!(tiny_ddpm::Prediction::target),
            named!(tiny_ddpm::Unet::new),
            named!(tiny_ddpm::Prediction::to_x0_hat),
        ],
    );
}

/// The chapter; `what` is "picture" or what else x_0 is.
pub fn how_fast(page: &mut String, schedule: &Schedule, what: &str) -> Result<()> {
    head(page, "schedule", "2. How fast: the noise schedule");
    let _ = writeln!(
        page,
        r"<p>$\beta_t$ is chosen, not learned. If it is too large, the network sees hardly anything but noise; if it is too small, $x_T$ still shows the {what}, but sampling starts with none.</p>"
    );
    let over = |first: u16, value: &dyn Fn(u16) -> f64| -> Vec<(u16, f64)> {
        (first..=schedule.timesteps())
            .map(|t| (t, value(t)))
            .collect()
    };
    let left = format!(r"signal: how much of the {what} is left, $\bar\alpha_t$");
    let plots = [
        Curves {
            title: r"noise that a step adds, $\beta_t$",
            log_x: false,
            log_y: true,
            lines: vec![("β", over(1, &|t| schedule.beta(t)))],
        },
        Curves {
            title: &left,
            log_x: false,
            log_y: false,
            lines: vec![("signal", over(0, &|t| schedule.alpha_bar(t)))],
        },
        Curves {
            title: "signal-to-noise ratio, in dB",
            log_x: false,
            log_y: false,
            lines: vec![("SNR", over(1, &|t| 10.0 * schedule.snr(t).log10()))],
        },
        Curves {
            title: r"posterior variance $\tilde\beta_t$, and $\beta_t$",
            log_x: true,
            log_y: true,
            lines: vec![
                (
                    "posterior",
                    over(1, &|t| schedule.transition(t, t - 1).posterior_variance()),
                ),
                ("β", over(1, &|t| schedule.beta(t))),
            ],
        },
    ];
    *page += "<div class=\"plots\">\n";
    for plot in plots {
        let _ = writeln!(
            page,
            "<figure><figcaption>{}</figcaption>{}</figure>",
            plot.title,
            plot.draw()?
        );
    }
    *page += "</div>\n";
    paragraph(
        page,
        r"The last plot is about the way back. If we knew $x_0$, we would know the step from $x_t$ to $x_{t-1}$ as well: the posterior is a Gaussian whose mean lies between $x_0$ and $x_t$.",
    );
    equation(
        page,
        r"$$q(x_{t-1} \mid x_t, x_0) = N(\tilde\mu, \tilde\beta_t I)$$ $$\tilde\mu = \frac{\sqrt{\bar\alpha_{t-1}}\,\beta_t}{1 - \bar\alpha_t}\,x_0 + \frac{\sqrt{\alpha_t}\,(1 - \bar\alpha_{t-1})}{1 - \bar\alpha_t}\,x_t, \quad \alpha_t = 1 - \beta_t$$ $$\tilde\beta_t = \frac{1 - \bar\alpha_{t-1}}{1 - \bar\alpha_t}\,\beta_t$$",
    );
    let _ = writeln!(
        page,
        r"<p>The posterior variance $\tilde\beta_t$ is smaller than $\beta_t$. That shows only in the last few steps before the {what}, where it goes to 0.</p>"
    );
    computed_by(
        page,
        &[
            named!(tiny_ddpm::Schedule::beta),
            named!(tiny_ddpm::Schedule::transition),
            named!(tiny_ddpm::diffusion::schedule::Transition::mean_weight_x0),
            named!(tiny_ddpm::diffusion::schedule::Transition::mean_weight_x_t),
            named!(tiny_ddpm::diffusion::schedule::Transition::posterior_variance),
        ],
    );
    Ok(())
}
