//! The page of a model for pictures.

use std::fmt::Write;

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tiny_ddpm::picture::to_pixels;
use tiny_ddpm::{Prediction, Schedule};

use super::Facts;
use super::chapters::{
    answered_by, forward_figures, forward_process, how_fast, introduction, question,
    strength_of_noise,
};
use super::glossary::glossary;
use super::html::{
    Strip, computed_by, document, equation, head, in_words, named, number, paragraph, spread,
};
use super::samplers::{called, heading, rule_of};
use crate::evaluate::report::escaped;
use crate::explain::story::{Frame, Story};
use crate::output::encode_png;

/// Most stages of the way back that are shown.
const CHAIN: usize = 60;
/// Stages that are shown of each sampler.
const STAGES: usize = 9;
/// What is drawn white where values are not those of a picture: three
/// deviations of noise.
const WIDE: f32 = 3.0;

/// The whole page.
///
/// # Errors
/// Where a picture or curve cannot be drawn.
pub fn page(facts: &Facts<'_>, schedule: &Schedule, story: &Story) -> Result<String> {
    let title = format!(
        "From picture to noise and back, with {}",
        escaped(facts.info.name)
    );
    let mut page = String::new();
    introduction(
        &mut page,
        facts,
        schedule,
        "Take a picture and pour noise over it, a little at a time, until nothing of it is left. Teach a network to tell, at every stage, what was there before. Then start with nothing but noise, and let the network clear it up. That is a diffusion model, all of it.",
    );
    into_the_noise(&mut page, story)?;
    how_fast(&mut page, schedule, "picture")?;
    what_is_asked(&mut page, facts, story)?;
    out_of_the_noise(&mut page, facts, story)?;
    many_ways(&mut page, story)?;
    glossary(&mut page, false);
    document(&title, &page)
}

fn into_the_noise(page: &mut String, story: &Story) -> Result<()> {
    forward_process(page, "picture");
    let forward = &story.forward;
    let mut strip = Strip::new();
    strip.figures("t", forward.iter().map(|n| n.timestep.to_string()));
    let at_once = forward.iter().map(|n| (n.timestep, &n.at_once[..]));
    pictures(&mut strip, story.size, "at once", 1.0, at_once)?;
    let step_by_step = forward.iter().map(|n| (n.timestep, &n.step_by_step[..]));
    pictures(&mut strip, story.size, "step by step", 1.0, step_by_step)?;
    forward_figures(&mut strip, forward);
    strip.end(page);
    let over = format!("the {} pixels", forward[0].at_once.len());
    strength_of_noise(page, "picture", &over);
    Ok(())
}

fn what_is_asked(page: &mut String, facts: &Facts<'_>, story: &Story) -> Result<()> {
    let prediction = facts.info.prediction;
    question(page, prediction, "picture", "the class c");
    let (lessons, size) = (&story.lessons, story.size);
    let mut strip = Strip::new();
    strip.figures("t", lessons.iter().map(|l| l.timestep.to_string()));
    let x_t = lessons.iter().map(|l| (l.timestep, &l.x_t[..]));
    pictures(&mut strip, size, "input, $x_t$", 1.0, x_t)?;
    let (white, greys) = match prediction {
        Prediction::X0 => (1.0, ""),
        _ => (
            WIDE,
            " In the rows of targets and outputs, black is −3 and white is 3.",
        ),
    };
    let target = lessons.iter().map(|l| (l.timestep, &l.target[..]));
    pictures(&mut strip, size, "target, $y$", white, target)?;
    let answer = lessons.iter().map(|l| (l.timestep, &l.answer[..]));
    pictures(&mut strip, size, "output, $f$", white, answer)?;
    let x0_hat = lessons.iter().map(|l| (l.timestep, &l.x0_hat[..]));
    let name = r"estimate, $\hat x_0$";
    pictures(&mut strip, size, name, 1.0, x0_hat)?;
    strip.figures(
        "mean square of $y - f$",
        lessons.iter().map(|l| number(l.loss)),
    );
    strip.end(page);
    let _ = writeln!(
        page,
        r"<p>With little noise $\hat x_0$ is sharp. With much noise it is a blur: the mean of all pictures that could lie under this noise, because that mean has the least squared error. So one step is not enough for a picture.{greys}</p>"
    );
    answered_by(page);
    Ok(())
}

fn out_of_the_noise(page: &mut String, facts: &Facts<'_>, story: &Story) -> Result<()> {
    head(page, "reverse", "4. Out of the noise: the reverse process");
    let way = &story.reverse;
    let guided = match facts.guidance {
        0.0 => String::new(),
        w => format!(", guidance {w}"),
    };
    let _ = writeln!(
        page,
        r"<p>Now there is no picture to begin with: $x_T$ is noise from the seed. At every step the network estimates $\hat x_0$, and the sampler goes a little way towards it, from $t$ to an earlier $s$; $\hat\varepsilon$ is the noise that $\hat x_0$ leaves in $x_t$. As $x_t$ gets clearer, so does $\hat x_0$: this is denoising. The sampler is {}{guided}.</p>",
        called(way.method, way.steps)
    );
    equation(page, rule_of(way.method));
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
                &format!("estimate of x_0 at t = {}", frame.timestep)
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
        r"<p>Above $x_t$, below $\hat x_0$, under them $t$.{of} The network was run {} times. The hash of the last picture, <code>{:08x}</code>, is the one that the chip prints for this seed and class.</p>",
        way.evaluations,
        way.hash()
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
    head(page, "samplers", "5. Many ways back: samplers");
    paragraph(
        page,
        r"The network only estimates $\hat x_0$. How to use it is the sampler's choice, and each of these starts from the same $x_T$. Samplers that add noise on their way end at other pictures. Those that add none solve the same differential equation (the probability flow), each as well as it can, and so end at similar pictures. DDIM stands between: with $\eta = 1$ it is DDPM with the posterior variance.",
    );
    for way in &story.samplers {
        let _ = writeln!(
            page,
            "<h3>{}</h3>",
            heading(way.method, way.steps, way.evaluations)
        );
        equation(page, rule_of(way.method));
        let shown = spread(way.frames.len(), STAGES - 1);
        let frames: Vec<&Frame> = shown.iter().map(|&index| &way.frames[index]).collect();
        let last = [(0, &way.x_0[..])];
        let mut strip = Strip::new();
        let timesteps = frames.iter().map(|frame| frame.timestep).chain([0]);
        strip.figures("t", timesteps.map(|t| t.to_string()));
        let x_t = frames.iter().map(|frame| (frame.timestep, &frame.x_t[..]));
        let x_t = x_t.chain(last);
        pictures(&mut strip, story.size, "sample, $x_t$", 1.0, x_t)?;
        let x0_hat = frames
            .iter()
            .map(|frame| (frame.timestep, &frame.x0_hat[..]));
        let x0_hat = x0_hat.chain(last);
        pictures(&mut strip, story.size, r"estimate, $\hat x_0$", 1.0, x0_hat)?;
        strip.end(page);
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

/// A row of pictures.
fn pictures<'v>(
    strip: &mut Strip,
    size: usize,
    name: &str,
    white: f32,
    stages: impl Iterator<Item = (u16, &'v [f32])>,
) -> Result<()> {
    let text = in_words(name);
    let cells = stages.map(|(t, values)| picture(values, size, white, &format!("{text}, t = {t}")));
    let cells: Vec<String> = cells.collect::<Result<_>>()?;
    strip.row(name, cells.into_iter());
    Ok(())
}

/// A picture within the page; `white` is the value that is drawn white.
fn picture(values: &[f32], size: usize, white: f32, described: &str) -> Result<String> {
    let values: Vec<f32> = values.iter().map(|value| value / white).collect();
    let mut pixels = vec![0; values.len()];
    to_pixels(&values, &mut pixels);
    let png = encode_png(size, size, &pixels)?;
    Ok(format!(
        "<img alt=\"{}\" src=\"data:image/png;base64,{}\"/>",
        escaped(described),
        BASE64_STANDARD.encode(png)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::story::{Asked, methods, own_picture};
    use crate::output::{typeset, well_set};
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
            x_0: "drawn & kept".to_owned(),
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
        for id in [
            "forward", "schedule", "training", "reverse", "samplers", "glossary",
        ] {
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
        well_set(page);
    }

    #[test]
    fn every_sampler_has_its_name_and_equation() {
        let page = &*EXAMPLE;
        for (method, steps) in methods(3, 1000) {
            let rule = rule_of(method);
            assert!(!rule.is_empty(), "{method:?}");
            assert!(page.contains(&typeset(rule).unwrap()), "{method:?}");
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
}
