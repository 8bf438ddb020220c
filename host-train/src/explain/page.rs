//! The page: one file with its pictures and curves inside, in the order in
//! which a picture goes into the noise and comes back.
//!
//! Functions of `core` are named through a macro that the compiler checks, so
//! that the page cannot send a reader to one that is no longer there.

use std::fmt::Write;

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tiny_ddpm::blob::records::Info;
use tiny_ddpm::picture::to_pixels;
use tiny_ddpm::{Method, Prediction, Schedule, ScheduleKind, Variance};

use super::curves::Curves;
use super::story::{Frame, Story, Trajectory};
use crate::evaluate::report::{STYLE, escaped};
use crate::output::encode_png;

/// Most stages of the way back that are shown.
const CHAIN: usize = 60;
/// Stages that are shown of each sampler.
const STAGES: usize = 9;
/// What is drawn white where values are not those of a picture: three
/// deviations of noise.
const WIDE: f32 = 3.0;

/// What the page adds to the look of a report.
const MORE_STYLE: &str = "
.equation { font: italic 1.2rem/2 Cambria, \"Latin Modern Math\", serif; text-align: center; }
.equation sub { font-size: .7em; }
.root { border-top: 1px solid; padding: 0 .1em; }
.strip td { text-align: center; border: 0; padding: .15rem .25rem; font-weight: normal; }
.strip td:first-child { text-align: left; min-width: 6.5rem; white-space: normal; line-height: 1.2; }
.strip tr.figures td { font-size: .85rem; }
.strip img, .chain img { width: 3.5rem; height: 3.5rem; max-width: none; display: block; margin: 0 auto; }
.chain figure { margin: 0 .35rem .6rem 0; text-align: center; }
.chain img { margin-bottom: 2px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
";

/// What the page says of the model and the picture.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The model's file.
    pub path: String,
    /// Of that file.
    pub sha256: String,
    /// What is in it.
    pub info: Info<'a>,
    /// Where x_0 comes from.
    pub picture: String,
    /// The class that the network is told.
    pub class: Option<u8>,
    /// Seed of all noise.
    pub seed: u64,
    /// Classifier-free guidance of the ways back.
    pub guidance: f32,
}

/// The name of a function of `core`, which must be there. What is generic gets
/// its types behind the comma.
macro_rules! named {
    ($($path:ident)::+ $(, $types:ty)*) => {{
        let _ = $($path)::+::<$($types),*>;
        [$(stringify!($path)),+].join("::")
    }};
}

/// The whole page.
///
/// # Errors
/// Where a picture or curve cannot be drawn.
pub fn page(facts: &Facts<'_>, schedule: &Schedule, story: &Story) -> Result<String> {
    let title = format!(
        "From picture to noise and back, with {}",
        escaped(facts.info.name)
    );
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}{MORE_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    introduction(&mut page, facts, schedule);
    into_the_noise(&mut page, story)?;
    how_fast(&mut page, schedule)?;
    what_is_asked(&mut page, facts, story)?;
    out_of_the_noise(&mut page, facts, story)?;
    many_ways(&mut page, story)?;
    page += "</body>\n</html>\n";
    Ok(page)
}

fn introduction(page: &mut String, facts: &Facts<'_>, schedule: &Schedule) {
    let rule = match schedule.kind() {
        ScheduleKind::Linear {
            beta_start,
            beta_end,
        } => format!("a linear schedule, β from {beta_start} to {beta_end}"),
        ScheduleKind::Cosine => "a cosine schedule".to_owned(),
        _ => "a schedule of its own".to_owned(),
    };
    let class = match facts.class {
        Some(class) => format!("the network is told class {class}"),
        None => "the network is told no class".to_owned(),
    };
    let _ = write!(
        page,
        "<p>Take a picture and pour noise over it, a little at a time, until nothing of it is left. Teach a network to tell, at every stage, what was there before. Then start with nothing but noise, and let the network clear it up. That is a diffusion model (<span lang=\"zh\">扩散模型</span>), all of it.</p>\n<p>Each figure below was computed for this page by the functions that run on the chip, and each section names them.</p>\n<ul>\n<li>model: <code>{}</code>, SHA-256 <code>{}</code></li>\n<li>T = {}, {rule}; {class}</li>\n<li>x<sub>0</sub>: {}</li>\n<li>seed of all noise: {}</li>\n</ul>\n",
        escaped(&facts.path),
        facts.sha256,
        schedule.timesteps(),
        escaped(&facts.picture),
        facts.seed,
    );
}

/// A section's head.
fn head(page: &mut String, id: &str, english: &str, chinese: &str) {
    let _ = writeln!(
        page,
        "<h2 id=\"{id}\">{english} (<span lang=\"zh\">{chinese}</span>)</h2>"
    );
}

fn paragraph(page: &mut String, text: &str) {
    let _ = writeln!(page, "<p>{text}</p>");
}

fn equation(page: &mut String, html: &str) {
    let _ = writeln!(page, "<p class=\"equation\">{html}</p>");
}

/// Where it is computed.
fn computed_by(page: &mut String, names: &[String]) {
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("<code>{name}</code>"))
        .collect();
    let _ = writeln!(
        page,
        "<p class=\"note\">Computed by {}.</p>",
        names.join(", ")
    );
}

fn root(html: &str) -> String {
    format!("√<span class=\"root\">{html}</span>")
}

fn into_the_noise(page: &mut String, story: &Story) -> Result<()> {
    head(
        page,
        "forward",
        "1. Into the noise: the forward process",
        "前向过程",
    );
    paragraph(
        page,
        "A step shrinks the picture a little and adds a little noise (<span lang=\"zh\">加噪</span>). How much, β<sub>t</sub> says; nothing is learned here.",
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
    let x_0 = &story.forward[0].at_once;
    let mut rows = Rows::new(story.size);
    rows.figures("t", story.forward.iter().map(|n| n.timestep.to_string()));
    rows.pictures(
        "at once",
        story.forward.iter().map(|n| (n.timestep, &n.at_once[..])),
    )?;
    rows.pictures(
        "step by step",
        story
            .forward
            .iter()
            .map(|n| (n.timestep, &n.step_by_step[..])),
    )?;
    rows.figures(
        "ᾱ<sub>t</sub>, what is left",
        story.forward.iter().map(|n| number(n.alpha_bar)),
    );
    rows.figures("SNR in dB", story.forward.iter().map(|n| decibels(n.snr)));
    rows.figures(
        "1 − ᾱ<sub>t</sub>",
        story.forward.iter().map(|n| number(1.0 - n.alpha_bar)),
    );
    rows.figures(
        "noise found, at once",
        story
            .forward
            .iter()
            .map(|n| number(n.measured(&n.at_once, x_0))),
    );
    rows.figures(
        "noise found, step by step",
        story
            .forward
            .iter()
            .map(|n| number(n.measured(&n.step_by_step, x_0))),
    );
    rows.end(page);
    let _ = writeln!(
        page,
        "<p>The two rows do not show the same noise, but noise of the same strength: the variance found over the {} pixels is near to 1 − ᾱ<sub>t</sub> in both. The signal-to-noise ratio (SNR, <span lang=\"zh\">信噪比</span>) is ᾱ<sub>t</sub> / (1 − ᾱ<sub>t</sub>); at 0 dB picture and noise are equally strong.</p>",
        x_0.len()
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
    Ok(())
}

fn how_fast(page: &mut String, schedule: &Schedule) -> Result<()> {
    head(
        page,
        "schedule",
        "2. How fast: the noise schedule",
        "噪声调度",
    );
    paragraph(
        page,
        "β<sub>t</sub> is chosen, not learned. Too fast, and the network sees hardly anything but noise; too slow, and x<sub>T</sub> still shows the picture, where sampling starts with none.",
    );
    let over = |first: u16, value: &dyn Fn(u16) -> f64| -> Vec<(u16, f64)> {
        (first..=schedule.timesteps())
            .map(|t| (t, value(t)))
            .collect()
    };
    let plots = [
        Curves {
            title: "β: noise that a step adds",
            log_x: false,
            log_y: true,
            lines: vec![("β", over(1, &|t| schedule.beta(t)))],
        },
        Curves {
            title: "ᾱ: how much of the picture is left",
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
    paragraph(
        page,
        "Its variance (<span lang=\"zh\">后验方差</span>) is smaller than β<sub>t</sub>, but only in the last few steps before the picture does that show; there it goes to 0.",
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

fn what_is_asked(page: &mut String, facts: &Facts<'_>, story: &Story) -> Result<()> {
    head(
        page,
        "training",
        "3. What the network is asked: training",
        "训练",
    );
    let prediction = facts.info.prediction;
    let (target, what) = match prediction {
        Prediction::Epsilon => (
            "ε".to_owned(),
            "the noise ε (<span lang=\"zh\">噪声预测</span>)",
        ),
        Prediction::X0 => ("x<sub>0</sub>".to_owned(), "the picture x<sub>0</sub>"),
        _ => (
            format!(
                "{} ε − {} x<sub>0</sub>",
                root("ᾱ<sub>t</sub>"),
                root("1 − ᾱ<sub>t</sub>")
            ),
            "v, a mixture of the noise ε and the picture x<sub>0</sub>, which asks for the noise where there is little of it and for the picture where there is much",
        ),
    };
    let _ = writeln!(
        page,
        "<p>In training a picture, a t and a noise ε are drawn; the network f sees x<sub>t</sub>, t and mostly the class c. This one is asked for {what}. Whatever is asked for, with x<sub>t</sub> it gives x̂<sub>0</sub>, the picture that the network takes x<sub>t</sub> to be.</p>"
    );
    equation(
        page,
        &format!("L = E ‖ y − f(x<sub>t</sub>, t, c) ‖², &emsp; y = {target}"),
    );
    let lessons = &story.lessons;
    let mut rows = Rows::new(story.size);
    rows.figures("t", lessons.iter().map(|l| l.timestep.to_string()));
    rows.pictures(
        "what it sees, x<sub>t</sub>",
        lessons.iter().map(|l| (l.timestep, &l.x_t[..])),
    )?;
    let wide = prediction != Prediction::X0;
    for (name, value) in [("what it should say, y", 0), ("what it says, f", 1)] {
        let pictures = lessons.iter().map(|lesson| {
            let values = if value == 0 {
                &lesson.target
            } else {
                &lesson.answer
            };
            (lesson.timestep, &values[..])
        });
        match wide {
            true => rows.noise(name, pictures)?,
            false => rows.pictures(name, pictures)?,
        }
    }
    rows.pictures(
        "what it sees in it, x̂<sub>0</sub>",
        lessons.iter().map(|l| (l.timestep, &l.x0_hat[..])),
    )?;
    rows.figures(
        "mean square of y − f",
        lessons.iter().map(|l| number(l.loss)),
    );
    rows.end(page);
    let greys = match wide {
        true => " Values from −3 to 3 are shown in the second and third row, from black to white.",
        false => "",
    };
    let _ = writeln!(
        page,
        "<p>With little noise x̂<sub>0</sub> is sharp. With much it is a blur: the mean of all pictures that could lie under this noise, which is what a square error asks for. So a picture cannot be had in one step.{greys}</p>"
    );
    computed_by(
        page,
        &[
            named!(tiny_ddpm::Prediction::target),
            named!(tiny_ddpm::Unet::new),
            named!(tiny_ddpm::Prediction::to_x0_hat),
        ],
    );
    Ok(())
}

fn out_of_the_noise(page: &mut String, facts: &Facts<'_>, story: &Story) -> Result<()> {
    head(
        page,
        "reverse",
        "4. Out of the noise: the reverse process",
        "逆向过程",
    );
    let way = &story.reverse;
    let guided = match facts.guidance {
        0.0 => String::new(),
        w => format!(", guidance {w}"),
    };
    let _ = writeln!(
        page,
        "<p>Now there is no picture to begin with: x<sub>T</sub> is noise from the seed. At every step the network tells x̂<sub>0</sub>, and the sampler goes a little way towards it, from t to an earlier s, with ε̂ the noise that x̂<sub>0</sub> leaves of x<sub>t</sub>. As x<sub>t</sub> clears, so does x̂<sub>0</sub> (<span lang=\"zh\">去噪</span>). This is {}{guided}.</p>",
        called(way)
    );
    equation(page, &rule_of(way.method));
    let shown = spread(way.frames.len(), CHAIN);
    *page += "<div class=\"chain\">\n";
    for &index in &shown {
        let frame = &way.frames[index];
        let _ = writeln!(
            page,
            "<figure>{}{}<figcaption>{}</figcaption></figure>",
            picture(
                &frame.x_t,
                story.size,
                1.0,
                &format!("x at t = {}", frame.timestep)
            )?,
            picture(
                &frame.x0_hat,
                story.size,
                1.0,
                &format!("x_0 as seen at t = {}", frame.timestep)
            )?,
            frame.timestep
        );
    }
    let _ = writeln!(
        page,
        "<figure>{0}{0}<figcaption>0</figcaption></figure>\n</div>",
        picture(&way.x_0, story.size, 1.0, "x_0")?
    );
    let of = match shown.len() < way.frames.len() {
        true => format!(" {} of {} steps are shown.", shown.len(), way.frames.len()),
        false => String::new(),
    };
    let _ = writeln!(
        page,
        "<p>Above x<sub>t</sub>, below x̂<sub>0</sub>, under them t.{of} The network was run {} times. The hash of the last picture, <code>{:08x}</code>, is the one that the chip prints for this seed and class.</p>",
        way.evaluations, way.hash
    );
    computed_by(
        page,
        &[
            named!(tiny_ddpm::Sampler::step, tiny_ddpm::Unet<'_, '_, '_>),
            named!(tiny_ddpm::Sampler::x0_hat),
            named!(tiny_ddpm::picture::picture_hash),
        ],
    );
    Ok(())
}

fn many_ways(page: &mut String, story: &Story) -> Result<()> {
    head(page, "samplers", "5. Many ways back: samplers", "采样");
    paragraph(
        page,
        "The network only tells x̂<sub>0</sub>. How to use that is the sampler's choice, and each of these starts from the same x<sub>T</sub>. Those that add noise on their way wander off to other pictures; those that add none solve one and the same differential equation (the probability flow, <span lang=\"zh\">概率流</span>), each as well as it can, and so come out alike. DDIM stands between: with η = 1 it is DDPM with the variance β̃.",
    );
    for way in &story.samplers {
        let _ = writeln!(page, "<h3>{}</h3>", heading(way));
        equation(page, &rule_of(way.method));
        let shown = spread(way.frames.len(), STAGES - 1);
        let frames: Vec<&Frame> = shown.iter().map(|&index| &way.frames[index]).collect();
        let last = [(0, &way.x_0[..])];
        let mut rows = Rows::new(story.size);
        let timesteps = frames.iter().map(|frame| frame.timestep).chain([0]);
        rows.figures("t", timesteps.map(|t| t.to_string()));
        let x_t = frames.iter().map(|frame| (frame.timestep, &frame.x_t[..]));
        rows.pictures("x<sub>t</sub>", x_t.chain(last))?;
        let x0_hat = frames
            .iter()
            .map(|frame| (frame.timestep, &frame.x0_hat[..]));
        rows.pictures("x̂<sub>0</sub>", x0_hat.chain(last))?;
        rows.end(page);
    }
    computed_by(
        page,
        &[named!(
            tiny_ddpm::Sampler::step,
            tiny_ddpm::Unet<'_, '_, '_>
        )],
    );
    Ok(())
}

/// A sampler's name, and what it cost.
fn heading(way: &Trajectory) -> String {
    let runs = match way.evaluations {
        1 => "one run".to_owned(),
        runs => format!("{runs} runs"),
    };
    format!("{}: {runs} of the network", called(way))
}

fn called(way: &Trajectory) -> String {
    let name = match way.method {
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
    match way.steps {
        1 => format!("{name} in one step"),
        steps => format!("{name} in {steps} steps"),
    }
}

/// How x_s follows from x_t; α and β are those of the step from t to s.
fn rule_of(method: Method) -> String {
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

/// `most` of `count` places, evenly spread, the first among them; all, where
/// there are fewer.
fn spread(count: usize, most: usize) -> Vec<usize> {
    let shown = count.min(most);
    (0..shown).map(|place| place * count / shown).collect()
}

/// A table whose columns are stages.
struct Rows {
    size: usize,
    html: String,
}

impl Rows {
    fn new(size: usize) -> Self {
        Self {
            size,
            html: String::new(),
        }
    }

    fn row(&mut self, kind: &str, name: &str, cells: impl Iterator<Item = String>) {
        let _ = write!(self.html, "<tr{kind}><td>{name}</td>");
        for cell in cells {
            let _ = write!(self.html, "<td>{cell}</td>");
        }
        self.html += "</tr>\n";
    }

    fn figures(&mut self, name: &str, values: impl Iterator<Item = String>) {
        self.row(" class=\"figures\"", name, values);
    }

    /// Values from -1 to 1.
    fn pictures<'v>(
        &mut self,
        name: &str,
        stages: impl Iterator<Item = (u16, &'v [f32])>,
    ) -> Result<()> {
        self.scaled(name, 1.0, stages)
    }

    /// Values that spread as noise does.
    fn noise<'v>(
        &mut self,
        name: &str,
        stages: impl Iterator<Item = (u16, &'v [f32])>,
    ) -> Result<()> {
        self.scaled(name, WIDE, stages)
    }

    fn scaled<'v>(
        &mut self,
        name: &str,
        white: f32,
        stages: impl Iterator<Item = (u16, &'v [f32])>,
    ) -> Result<()> {
        let size = self.size;
        let plain = name.replace("<sub>", "_").replace("</sub>", "");
        let cells =
            stages.map(|(t, values)| picture(values, size, white, &format!("{plain}, t = {t}")));
        let cells: Vec<String> = cells.collect::<Result<_>>()?;
        self.row("", name, cells.into_iter());
        Ok(())
    }

    fn end(self, page: &mut String) {
        let _ = write!(
            page,
            "<div class=\"scroll\"><table class=\"strip\">\n{}</table></div>\n",
            self.html
        );
    }
}

/// A picture within the page; `white` is the value that is drawn white.
fn picture(values: &[f32], size: usize, white: f32, described: &str) -> Result<String> {
    let values: Vec<f32> = values.iter().map(|value| value / white).collect();
    let mut pixels = vec![0; values.len()];
    to_pixels(&values, &mut pixels);
    let png = encode_png(size, size, &pixels)?;
    Ok(format!(
        "<img alt=\"{}\" src=\"data:image/png;base64,{}\">",
        escaped(described),
        BASE64_STANDARD.encode(png)
    ))
}

/// About three digits.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.001 => format!("{value:.0e}"),
        size if size < 0.1 => format!("{value:.4}"),
        _ => format!("{value:.3}"),
    }
}

fn decibels(ratio: f64) -> String {
    match ratio.is_finite() {
        // Adding 0 makes 0 of -0.
        true => format!("{:.1}", (100.0 * ratio.log10()).round() / 10.0 + 0.0),
        false => "∞".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Asked, own_picture};
    use super::*;
    use std::sync::LazyLock;
    use tiny_ddpm::Model;

    /// Takes a while: every sampler, the whole chain among them.
    static EXAMPLE: LazyLock<String> = LazyLock::new(|| example(1));

    fn example(seed: u64) -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano.tddpm");
        let blob = std::fs::read(path).unwrap();
        let model = Model::load(&blob).unwrap();
        let asked = Asked {
            class: Some(7),
            steps: 3,
            seed,
        };
        let x_0 = own_picture(&model, asked).unwrap();
        let story = Story::new(&model, &x_0, asked).unwrap();
        let facts = Facts {
            path: "models/<nano>".to_owned(),
            sha256: "0123".to_owned(),
            info: model.info().clone(),
            picture: "drawn & kept".to_owned(),
            class: asked.class,
            seed,
            guidance: asked.request(&model).guidance,
        };
        page(&facts, &model.schedule(), &story).unwrap()
    }

    #[test]
    fn everything_is_on_the_page_and_nothing_beside_it() {
        let page = &*EXAMPLE;
        assert!(page.starts_with("<!DOCTYPE html>"));
        for id in ["forward", "schedule", "training", "reverse", "samplers"] {
            assert!(page.contains(&format!("<h2 id=\"{id}\">")), "{id}");
        }
        for outside in ["href=", "src=\"http", "<script", "url(", "<link", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<svg").count(), 4);
        for words in [
            "models/&lt;nano&gt;",
            "drawn &amp; kept",
            "前向过程",
            "后验方差",
        ] {
            assert!(page.contains(words), "{words}");
        }
        let x_t = page.matches("alt=\"x at t = ").count();
        assert_eq!(x_t, 3);
        for tag in [
            "table",
            "tr",
            "td",
            "figure",
            "figcaption",
            "div",
            "p",
            "h2",
            "h3",
            "ul",
            "li",
            "svg",
            "span",
            "sub",
            "code",
        ] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert!(opened > 0, "{tag}");
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn every_sampler_has_its_name_and_equation() {
        let page = &*EXAMPLE;
        for (method, steps) in super::super::story::methods(3, 1000) {
            let rule = rule_of(method);
            assert!(!rule.is_empty(), "{method:?}");
            assert!(page.contains(&rule), "{method:?}");
            assert!(page.contains(&format!("in {steps} steps: ")), "{method:?}");
        }
        assert!(!page.contains("another sampler"));
        // Guidance asks twice, Heun's method twice but at the last step.
        for runs in [
            "in 1000 steps: 2000 runs",
            "in 3 steps: 6 runs",
            "in 3 steps: 10 runs",
        ] {
            assert!(page.contains(runs), "{runs}");
        }
    }

    #[test]
    fn a_seed_fixes_every_byte() {
        assert!(*EXAMPLE == example(1));
        assert!(*EXAMPLE != example(2));
    }

    #[test]
    fn stages_are_spread() {
        assert_eq!(spread(3, 8), [0, 1, 2]);
        assert_eq!(spread(20, 4), [0, 5, 10, 15]);
        assert_eq!(spread(1000, 60).len(), 60);
        assert_eq!(spread(0, 5), [0; 0]);
    }

    #[test]
    fn figures_are_short() {
        let shown = [0.0, 1.0, 0.49271, 0.03141, 0.00012, -0.2].map(number);
        assert_eq!(shown, ["0", "1.000", "0.493", "0.0314", "1e-4", "-0.200"]);
        let shown = [1.0, 0.999, 100.0, 0.01, f64::INFINITY].map(decibels);
        assert_eq!(shown, ["0.0", "0.0", "20.0", "-20.0", "∞"]);
    }
}
