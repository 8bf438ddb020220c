//! The page of a model for points.

use std::fmt::Write;

use anyhow::Result;
use tiny_ddpm::Schedule;
use tiny_ddpm::picture::state_hash;

use super::Facts;
use super::chapters::{
    answered_by, forward_figures, forward_process, how_fast, introduction, question,
    strength_of_noise,
};
use super::glossary::glossary;
use super::html::{Strip, computed_by, document, equation, head, named, number, paragraph, spread};
use super::samplers::{called, heading, rule_of};
use crate::data::swiss_roll::deviation;
use crate::evaluate::report::escaped;
use crate::explain::story::{Flock, PointsLesson, PointsStory, adds_noise};
use crate::output::Map;
use crate::points::Points;

/// Half the side of a map of noise, which seldom reaches further, and of one of
/// data.
const WIDE: f64 = 2.9;
const NEAR: f64 = 1.15;
/// Widths of a dot in a small map and in a large one, and of a path.
const SMALL: f64 = 4.0;
const LARGE: f64 = 2.2;
const PATH: f64 = 0.7;
/// Most stages of the way back that are shown.
const CHAIN: usize = 60;
/// Points of the cloud that these show.
const CHAINED: usize = 200;
/// Points whose way is drawn where noise is added: more could not be told apart.
const STAGGERING: usize = 8;
/// Most places of a path.
const PLACES: usize = 100;

/// The whole page.
///
/// # Errors
/// Where a curve cannot be drawn.
pub fn page(facts: &Facts<'_>, schedule: &Schedule, story: &PointsStory) -> Result<String> {
    let title = format!(
        "From data to noise and back, with {}",
        escaped(facts.info.name)
    );
    let mut page = String::new();
    introduction(
        &mut page,
        facts,
        schedule,
        "Take points around a spiral and shake them, a little at a time, until nothing of the spiral is left. Teach a network to tell, at every stage, where each point came from. Then start with nothing but noise, and let the network lead it back. That is a diffusion model, all of it; a picture is a point too, with a value for each pixel, but only in two dimensions can everything be seen.",
    );
    into_the_noise(&mut page, story);
    how_fast(&mut page, schedule, "data")?;
    what_is_asked(&mut page, facts, story);
    out_of_the_noise(&mut page, story);
    many_ways(&mut page, story);
    glossary(&mut page, true);
    document(&title, &page)
}

/// A map of a cloud whose first point has a ring.
fn followed(title: &str, reach: f64, x: &[f32], places: &[f64]) -> String {
    let points = Points {
        values: 2,
        x: x.to_vec(),
    };
    let map = Map::new(title, reach).dots(&points, places, SMALL);
    map.ring(&x[..2], 9.0).finish()
}

/// The first point's values.
fn place(x: &[f32]) -> String {
    format!("({:.2}, {:.2})", x[0], x[1])
}

fn figure(page: &mut String, svg: &str, caption: &str) {
    let _ = writeln!(
        page,
        "<figure>{svg}<figcaption>{caption}</figcaption></figure>"
    );
}

fn large(svg: &str) -> String {
    svg.replacen("\"map\"", "\"map large\"", 1)
}

fn into_the_noise(page: &mut String, story: &PointsStory) {
    forward_process(page, "data");
    let forward = &story.forward;
    let map = |name: &str, t: u16, x: &[f32]| {
        followed(&format!("{name}, t = {t}"), WIDE, x, &story.places)
    };
    let mut strip = Strip::new();
    strip.figures("t", forward.iter().map(|n| n.timestep.to_string()));
    let at_once = forward
        .iter()
        .map(|n| map("at once", n.timestep, &n.at_once));
    strip.row("at once", at_once);
    let step_by_step = forward
        .iter()
        .map(|n| map("step by step", n.timestep, &n.step_by_step));
    strip.row("step by step", step_by_step);
    forward_figures(&mut strip, forward);
    strip.figures(
        "the followed point, at once",
        forward.iter().map(|n| place(&n.at_once)),
    );
    strip.figures(
        "the followed point, step by step",
        forward.iter().map(|n| place(&n.step_by_step)),
    );
    strip.end(page);
    let _ = writeln!(
        page,
        "<p>The colour of a point is its place along the curve at t = 0, and the ring is around the point that is followed. Neighbours stay neighbours for a while; then the turns run into each other, and at last no colour tells where a point began.</p>"
    );
    let over = format!("the {} values of all points", forward[0].at_once.len());
    strength_of_noise(page, "data", &over);
    let map = Map::new("the way of a single point", WIDE)
        .dots(&story.x_0, &story.places, LARGE)
        .plain_path(&story.walk, 0.8)
        .ring(&story.x_0.x[..2], 5.0);
    let caption = format!(
        "The followed point, from its place among the data (ring) through all {} steps (dot): a random walk that is drawn towards the middle.",
        story.walk.len() - 1
    );
    figure(page, &large(&map.finish()), &caption);
}

fn what_is_asked(page: &mut String, facts: &Facts<'_>, story: &PointsStory) {
    question(page, facts.info.prediction, "point", "");
    let lessons = &story.lessons;
    let cells = |cell: &dyn Fn(&PointsLesson) -> String| -> Vec<String> {
        lessons.iter().map(cell).collect()
    };
    let map = |name: &str, reach: f64, l: &PointsLesson, x: &[f32]| {
        let title = format!("{name}, t = {}", l.lesson.timestep);
        followed(&title, reach, x, &story.places)
    };
    let mut strip = Strip::new();
    let figures = |strip: &mut Strip, name: &str, cell: &dyn Fn(&PointsLesson) -> String| {
        strip.figures(name, cells(cell).into_iter());
    };
    let maps = |strip: &mut Strip, name: &str, cell: &dyn Fn(&PointsLesson) -> String| {
        strip.row(name, cells(cell).into_iter());
    };
    figures(&mut strip, "t", &|l| l.lesson.timestep.to_string());
    maps(&mut strip, "input, $x_t$", &|l| {
        map("x_t", WIDE, l, &l.lesson.x_t)
    });
    figures(&mut strip, "the followed point: target, $y$", &|l| {
        place(&l.lesson.target)
    });
    figures(&mut strip, "output, $f$", &|l| place(&l.lesson.answer));
    maps(&mut strip, r"estimate, $\hat x_0$", &|l| {
        map("estimate of x_0", NEAR, l, &l.lesson.x0_hat)
    });
    maps(
        &mut strip,
        r"best estimate, $\mathrm{E}[x_0 \mid x_t]$",
        &|l| map("best estimate", NEAR, l, &l.best),
    );
    maps(&mut strip, "towards less noise", &|l| {
        let title = format!("field of the network, t = {}", l.lesson.timestep);
        let map = Map::new(&title, f64::from(l.reach) * 1.08);
        map.arrows(&l.field, 1.2).finish()
    });
    figures(&mut strip, "mean square of $y - f$", &|l| {
        number(l.lesson.loss)
    });
    figures(&mut strip, r"mean square of $x_0 - \hat x_0$", &|l| {
        number(l.error)
    });
    figures(&mut strip, "the same of the best estimate", &|l| {
        number(l.best_error)
    });
    strip.end(page);
    paragraph(
        page,
        r"With little noise $\hat x_0$ is the curve again. With more, a point might have come from several turns, and $\hat x_0$ lies between them, where no data are; with nothing but noise it is the middle of everything. That is no fault of the network: the least squared error has the mean of all points that could lie under this noise, the posterior mean, and here that mean can be computed. No network has a smaller expected error. So one step is not enough for a sample.",
    );
    equation(
        page,
        r"$$\mathrm{E}[x_0 \mid x_t] = \frac{\sum_i w_i\,x_0^{(i)}}{\sum_i w_i}$$ $$w_i = \exp\left(-\frac{\lVert x_t - \sqrt{\bar\alpha_t}\,x_0^{(i)} \rVert^2}{2 (1 - \bar\alpha_t)}\right)$$",
    );
    paragraph(
        page,
        r"The arrows point from $x_t$ towards $\sqrt{\bar\alpha_t}\,\hat x_0$. Divided by $1 - \bar\alpha_t$ they are the score, the direction in which $x_t$ gets more likely fastest: to the nearest turn where there is little noise, to the middle where there is much. Each of these maps is as wide as $x_t$ spreads, and its longest arrow is as long as its lattice is wide.",
    );
    answered_by(page);
}

fn out_of_the_noise(page: &mut String, story: &PointsStory) {
    head(page, "reverse", "4. Out of the noise: the reverse process");
    let way = &story.reverse;
    let first = &way.ways[0];
    let _ = writeln!(
        page,
        r"<p>Now there are no data to begin with: $x_T$ is noise from the seed. At every step the network estimates $\hat x_0$, and the sampler goes a little way towards it, from $t$ to an earlier $s$; $\hat\varepsilon$ is the noise that $\hat x_0$ leaves in $x_t$. As $x_t$ finds the curve, so does $\hat x_0$: this is denoising. The sampler is {}.</p>",
        called(way.method, way.steps)
    );
    equation(page, rule_of(way.method));
    let places = &way.places[..CHAINED.min(way.places.len())];
    let map = |title: &str, reach: f64, points: &Points| {
        followed(title, reach, &points.x[..2 * places.len()], places)
    };
    let shown = spread(first.frames.len(), CHAIN);
    *page += "<div class=\"chain\">\n";
    for &index in &shown {
        let t = first.frames[index].timestep;
        let x_t = way.at(|way| &way.frames[index].x_t);
        let x0_hat = way.at(|way| &way.frames[index].x0_hat);
        let maps = map(&format!("x at t = {t}"), WIDE, &x_t)
            + &map(&format!("estimate of x_0 at t = {t}"), NEAR, &x0_hat);
        figure(page, &maps, &t.to_string());
    }
    let ends = way.ends();
    let maps = map("x_0", WIDE, &ends) + &map("x_0, larger", NEAR, &ends);
    figure(page, &maps, "0");
    *page += "</div>\n";
    let of = match shown.len() < first.frames.len() {
        true => format!(
            " {} of {} steps are shown.",
            shown.len(),
            first.frames.len()
        ),
        false => String::new(),
    };
    let _ = writeln!(
        page,
        r"<p>Above $x_t$, below $\hat x_0$ in a map of the data's size, under them $t$.{of} The colour is where a point ends: points of the inner turn did not come from the inner part of the noise. The network was run {} times for each point. The point with the ring ends at {}; the hash of its bits, <code>{:08x}</code>, is the one that the chip prints for this seed.</p>",
        way.evaluations,
        place(&first.x_0),
        state_hash(&first.x_0)
    );
    let caption = format!(
        "The ways of {} points, each from a place in the noise to its end (dot).",
        way.paths(PLACES).len()
    );
    figure(page, &large(&paths(way)), &caption);
    computed_by(
        page,
        &[
            named!(tiny_ddpm::Sampler::step, tiny_ddpm::Unet<'_, '_, '_>),
            named!(tiny_ddpm::Sampler::x0_hat),
            named!(tiny_ddpm::picture::state_hash),
        ],
    );
}

/// The trajectories of some of the points; the first one's is that of the
/// followed point.
fn paths(flock: &Flock) -> String {
    let title = format!("trajectories, {}", called(flock.method, flock.steps));
    let mut map = Map::new(&title, WIDE);
    let shown = match adds_noise(flock.method) {
        true => STAGGERING,
        false => usize::MAX,
    };
    let mut paths = flock.paths(PLACES).into_iter().take(shown);
    let first = paths.next();
    for (path, place) in paths {
        map = map.path(&path, place, PATH);
    }
    if let Some((path, _)) = first {
        map = map.plain_path(&path, 2.0 * PATH).ring(&path.x[..2], 5.0);
    }
    map.finish()
}

fn many_ways(page: &mut String, story: &PointsStory) {
    head(page, "samplers", "5. Many ways back: samplers");
    paragraph(
        page,
        r"The network only estimates $\hat x_0$. How to use it is the sampler's choice, and each of these starts from the same places. Samplers that add no noise solve the same differential equation (the probability flow), each as well as it can: their ways are smooth, alike, and do not cross at the same $t$. Those that add noise on their way solve the reverse SDE: their ways are ragged and end elsewhere, yet the points as a whole end in the same distribution. DDIM stands between: with $\eta = 1$ it is DDPM with the posterior variance.",
    );
    *page += "<h3>Their ways</h3>\n<div class=\"beside\">\n";
    for flock in &story.samplers {
        figure(page, &paths(flock), &called(flock.method, flock.steps));
    }
    let deviation = deviation();
    let _ = writeln!(
        page,
        "</div>\n<p>The black way (white, where the page is dark) is that of the same point in all of them.</p>\n<h3>Where they end</h3>\n<div class=\"beside\">"
    );
    for flock in &story.samplers {
        let title = format!("ends, {}", called(flock.method, flock.steps));
        let ends = flock.ends();
        let map = Map::new(&title, NEAR).dots(&ends, &flock.places, LARGE);
        let map = map.ring(&ends.x[..2], 5.0).finish();
        let caption = format!(
            "{}<br/>{} points, {:.4} off the curve",
            called(flock.method, flock.steps),
            flock.ways.len(),
            flock.off_curve
        );
        figure(page, &map, &caption);
    }
    let _ = writeln!(
        page,
        "</div>\n<p>Off the curve: the root mean square distance from it, for data {deviation:.4}. Of so few points it is a rough figure; <code>tiny-ddpm evaluate</code> takes thousands.</p>\n<h3>How they step</h3>"
    );
    for flock in &story.samplers {
        let name = heading(flock.method, flock.steps, flock.evaluations);
        let _ = writeln!(page, "<p>{name}</p>");
        equation(page, rule_of(flock.method));
    }
    computed_by(
        page,
        &[named!(
            tiny_ddpm::Sampler::step,
            tiny_ddpm::Unet<'_, '_, '_>
        )],
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::story::{Asked, methods};
    use crate::generate::for_denoisers;
    use crate::output::{typeset, well_set};
    use std::sync::LazyLock;
    use tiny_ddpm::Model;

    static EXAMPLE: LazyLock<String> = LazyLock::new(|| example(1));

    fn example(seed: u64) -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/swiss-roll.tddpm");
        let blob = std::fs::read(path).unwrap();
        let model = Model::load(&blob).unwrap();
        let asked = Asked {
            class: None,
            steps: 4,
            seed,
        };
        let story = PointsStory::new(&model, 0, asked).unwrap();
        let facts = Facts {
            path: "models/<roll>".to_owned(),
            sha256: "0123".to_owned(),
            info: model.info().clone(),
            x_0: "points & more".to_owned(),
            class: None,
            seed,
            guidance: 0.0,
        };
        page(&facts, &model.schedule(), &story).unwrap()
    }

    #[test]
    fn everything_is_on_the_page_and_nothing_beside_it() {
        let page = &*EXAMPLE;
        for id in [
            "forward", "schedule", "training", "reverse", "samplers", "glossary",
        ] {
            assert!(page.contains(&format!("<h2 id=\"{id}\">")), "{id}");
        }
        for outside in ["href=", "src=", "<script", "url(", "<link", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for words in [
            "models/&lt;roll&gt;",
            "points &amp; more",
            "后验均值",
            "逆向随机微分方程",
            "estimate of x_0 at t = 1000",
        ] {
            assert!(page.contains(words), "{words}");
        }
        for wrong in ["NaN", "inf\"", "picture x", "class"] {
            let text = page.replace("class=\"", "");
            assert!(!text.contains(wrong), "{wrong}");
        }
        assert_eq!(page.matches("<svg class=\"plot\"").count(), 4);
        // Seven stages twice, six lessons in four maps, four steps and the end
        // twice, and of every sampler ways and ends; two more are large.
        let maps = page.matches("<svg class=\"map\"").count();
        assert_eq!(
            maps,
            2 * 7 + 4 * 6 + 2 * 5 + 2 * (for_denoisers().count() + 1)
        );
        assert_eq!(page.matches("<svg class=\"map large\"").count(), 2);
        well_set(page);
    }

    #[test]
    fn every_sampler_has_its_ways_ends_and_equation() {
        let page = &*EXAMPLE;
        let all = methods(4, 1000);
        // DDPM once more, with all steps.
        assert_eq!(all.len(), for_denoisers().count() + 1);
        for (method, steps) in all {
            let name = called(method, steps);
            for label in ["trajectories", "ends"] {
                assert!(page.contains(&format!("aria-label=\"{label}, {name}\"")));
            }
            assert!(page.contains(&typeset(rule_of(method)).unwrap()));
        }
    }

    #[test]
    fn a_seed_fixes_every_byte() {
        assert!(*EXAMPLE == example(1));
        assert!(*EXAMPLE != example(2));
    }
}
