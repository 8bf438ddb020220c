//! What the pages of all models have in common: who was asked, the equations of
//! the forward process, the schedule, and what the network is asked for.
//!
//! `what` is the word for x_0: a picture, or data.

use std::fmt::Write;

use anyhow::Result;
use tiny_ddpm::{Prediction, Schedule, ScheduleKind};

use super::Facts;
use super::html::{Strip, computed_by, decibels, equation, head, named, number, paragraph, root};
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
        "<p>{first}</p>\n<p>Each figure below was computed for this page by the functions that run on the chip, and each section names them.</p>\n<ul>\n<li>model: <code>{}</code>, SHA-256 <code>{}</code></li>\n<li>T = {}, {rule}{class}</li>\n<li>x<sub>0</sub>: {}</li>\n<li>seed of all noise: {}</li>\n</ul>\n",
        escaped(&facts.path),
        facts.sha256,
        schedule.timesteps(),
        escaped(&facts.x_0),
        facts.seed,
    );
}

/// The start of the first chapter.
pub fn forward_process(page: &mut String, what: &str) {
    head(
        page,
        "forward",
        "1. Into the noise: the forward process",
        "前向过程",
    );
    let _ = writeln!(
        page,
        "<p>A step shrinks the {what} a little and adds a little noise (<span lang=\"zh\">加噪</span>). How much, β<sub>t</sub> says; nothing is learned here.</p>"
    );
    equation(
        page,
        &format!(
            "x<sub>t</sub> = {} x<sub>t−1</sub> + {} ε<sub>t</sub>, &emsp; ε<sub>t</sub> ~ N(0, I)",
            root("1 − β<sub>t</sub>"),
            root("β<sub>t</sub>")
        ),
    );
    paragraph(
        page,
        "A sum of Gaussians is a Gaussian, so t steps can be made at once, with ᾱ<sub>t</sub> = (1 − β<sub>1</sub>)(1 − β<sub>2</sub>) … (1 − β<sub>t</sub>). This is what makes training cheap: any x<sub>t</sub> is one line away from x<sub>0</sub>.",
    );
    equation(
        page,
        &format!(
            "x<sub>t</sub> = {} x<sub>0</sub> + {} ε",
            root("ᾱ<sub>t</sub>"),
            root("1 − ᾱ<sub>t</sub>")
        ),
    );
}

/// What each stage of the forward process has of x_0 and of noise.
pub fn forward_figures(strip: &mut Strip, forward: &[Noised]) {
    let x_0 = &forward[0].at_once;
    let figures =
        |value: &dyn Fn(&Noised) -> String| -> Vec<String> { forward.iter().map(value).collect() };
    let rows = [
        (
            "ᾱ<sub>t</sub>, what is left",
            figures(&|n| number(n.alpha_bar)),
        ),
        ("SNR in dB", figures(&|n| decibels(n.snr))),
        ("1 − ᾱ<sub>t</sub>", figures(&|n| number(1.0 - n.alpha_bar))),
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
        "<p>The two rows do not show the same noise, but noise of the same strength: the variance found over {over} is near to 1 − ᾱ<sub>t</sub> in both. The signal-to-noise ratio (SNR, <span lang=\"zh\">信噪比</span>) is ᾱ<sub>t</sub> / (1 − ᾱ<sub>t</sub>); at 0 dB {what} and noise are equally strong.</p>"
    );
    computed_by(
        page,
        &[
            named!(tiny_ddpm::Schedule::alpha_bar),
            named!(tiny_ddpm::Schedule::snr),
            named!(tiny_ddpm::prediction::signal_and_noise),
            named!(tiny_ddpm::noise::Noise::normal),
        ],
    );
}

/// The start of the chapter on training; `told` is what the network sees
/// beside x_t and t.
pub fn question(page: &mut String, prediction: Prediction, what: &str, told: &str) {
    head(
        page,
        "training",
        "3. What the network is asked: training",
        "训练",
    );
    let (target, asked) = match prediction {
        Prediction::Epsilon => (
            "ε".to_owned(),
            "the noise ε (<span lang=\"zh\">噪声预测</span>)".to_owned(),
        ),
        Prediction::X0 => (
            "x<sub>0</sub>".to_owned(),
            format!("the {what} x<sub>0</sub>"),
        ),
        _ => (
            format!(
                "{} ε − {} x<sub>0</sub>",
                root("ᾱ<sub>t</sub>"),
                root("1 − ᾱ<sub>t</sub>")
            ),
            format!(
                "v, a mixture of the noise ε and the {what} x<sub>0</sub>, which asks for the noise where there is little of it and for the {what} where there is much"
            ),
        ),
    };
    let (sees, arguments) = match told {
        "" => ("x<sub>t</sub> and t".to_owned(), "x<sub>t</sub>, t"),
        told => (
            format!("x<sub>t</sub>, t and mostly {told}"),
            "x<sub>t</sub>, t, c",
        ),
    };
    let _ = writeln!(
        page,
        "<p>In training a {what}, a t and a noise ε are drawn; the network f sees {sees}. This one is asked for {asked}. Whatever is asked for, with x<sub>t</sub> it gives x̂<sub>0</sub>, the {what} that the network takes x<sub>t</sub> to be.</p>"
    );
    equation(
        page,
        &format!("L = E ‖ y − f({arguments}) ‖², &emsp; y = {target}"),
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
    head(
        page,
        "schedule",
        "2. How fast: the noise schedule",
        "噪声调度",
    );
    let _ = writeln!(
        page,
        "<p>β<sub>t</sub> is chosen, not learned. Too fast, and the network sees hardly anything but noise; too slow, and x<sub>T</sub> still shows the {what}, where sampling starts with none.</p>"
    );
    let over = |first: u16, value: &dyn Fn(u16) -> f64| -> Vec<(u16, f64)> {
        (first..=schedule.timesteps())
            .map(|t| (t, value(t)))
            .collect()
    };
    let left = format!("ᾱ: how much of the {what} is left");
    let plots = [
        Curves {
            title: "β: noise that a step adds",
            log_x: false,
            log_y: true,
            lines: vec![("β", over(1, &|t| schedule.beta(t)))],
        },
        Curves {
            title: &left,
            log_x: false,
            log_y: false,
            lines: vec![("ᾱ", over(0, &|t| schedule.alpha_bar(t)))],
        },
        Curves {
            title: "signal-to-noise ratio, in dB",
            log_x: false,
            log_y: false,
            lines: vec![("SNR", over(1, &|t| 10.0 * schedule.snr(t).log10()))],
        },
        Curves {
            title: "posterior variance and β",
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
        *page += &plot.draw()?;
    }
    *page += "</div>\n";
    paragraph(
        page,
        "The last plot is about the way back. Knew we x<sub>0</sub>, the step from x<sub>t</sub> to x<sub>t−1</sub> would be known too: the posterior (<span lang=\"zh\">后验</span>) is a Gaussian, between x<sub>0</sub> and x<sub>t</sub>.",
    );
    equation(
        page,
        &format!(
            "q(x<sub>t−1</sub> | x<sub>t</sub>, x<sub>0</sub>) = N(μ̃, β̃<sub>t</sub> I), &emsp; μ̃ = <span>{} β<sub>t</sub> / (1 − ᾱ<sub>t</sub>)</span> x<sub>0</sub> + <span>{} (1 − ᾱ<sub>t−1</sub>) / (1 − ᾱ<sub>t</sub>)</span> x<sub>t</sub>",
            root("ᾱ<sub>t−1</sub>"),
            root("α<sub>t</sub>")
        ),
    );
    equation(
        page,
        "β̃<sub>t</sub> = (1 − ᾱ<sub>t−1</sub>) / (1 − ᾱ<sub>t</sub>) · β<sub>t</sub>",
    );
    let _ = writeln!(
        page,
        "<p>Its variance (<span lang=\"zh\">后验方差</span>) is smaller than β<sub>t</sub>, but only in the last few steps before the {what} does that show; there it goes to 0.</p>"
    );
    computed_by(
        page,
        &[
            named!(tiny_ddpm::Schedule::beta),
            named!(tiny_ddpm::Schedule::transition),
            named!(tiny_ddpm::schedule::Transition::mean_weight_x0),
            named!(tiny_ddpm::schedule::Transition::mean_weight_x_t),
            named!(tiny_ddpm::schedule::Transition::posterior_variance),
        ],
    );
    Ok(())
}
