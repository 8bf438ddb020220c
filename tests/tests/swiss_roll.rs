//! How far the shipped points are from held-out data, in floats and integers,
//! by every sampler.

use anyhow::Result;
use burn::tensor::Device;
use tiny_ddpm::{Method, Model, Spacing};
use tiny_ddpm_tests::models;
use tiny_ddpm_train::data::Split;
use tiny_ddpm_train::data::swiss_roll::{self, deviation};
use tiny_ddpm_train::evaluate::measure::{Network, Subject};
use tiny_ddpm_train::evaluate::points::{Plan, measure};
use tiny_ddpm_train::evaluate::results::ModelFacts;
use tiny_ddpm_train::generate::{Classes, Request, generate_points};
use tiny_ddpm_train::metrics::energy_distance;
use tiny_ddpm_train::points::Points;
use tiny_ddpm_train::train::load_any_ema;

/// Energy distances are promised to be below so many times the floor, where
/// the floor is what as many training points have.
const PROMISED: f64 = 5.0;
/// And points to lie within so many deviations of the data's own noise from
/// the curve, root mean square.
const PROMISED_OFF: f64 = 6.0;
const COUNT: usize = 2000;

fn facts(numbers: &'static str) -> ModelFacts {
    ModelFacts {
        numbers,
        path: String::new(),
        name: None,
        sha256: None,
    }
}

#[test]
fn every_sampler_s_points_are_near_held_out_data() -> Result<()> {
    let device = Device::flex();
    let blob = std::fs::read(models().join("swiss-roll.tddpm"))?;
    let model = Model::load(&blob)?;
    let steps = model.info().recommended.steps;
    let (config, float) = load_any_ema(&models().join("swiss-roll.run"), &device)?;
    assert_eq!(config.network.small()?, model.topology());
    let subjects = [
        Subject {
            facts: facts("f32"),
            network: Network::Float(Box::new(config), Box::new(float)),
        },
        Subject {
            facts: facts("int8"),
            network: Network::Int8(Box::new(model)),
        },
    ];
    let plan = Plan {
        count: COUNT,
        seed: 1,
        steps: vec![steps],
        only: None,
        spacing: Spacing::default(),
        progress: false,
    };
    let (found, gallery) = measure(&plan, &subjects, &device)?;
    // All but consistency, and DDIM twice.
    assert_eq!(found.sets.len(), 2 * Method::NAMES.len(), "{found:?}");
    let floor = found.data.energy;
    for set in &found.sets {
        let name = format!("{}, {}", set.model, set.sampler);
        assert!(
            set.energy < PROMISED * floor,
            "{name}: {} times",
            set.energy / floor
        );
        let off = set.off_curve / deviation();
        assert!(off < PROMISED_OFF, "{name}: {off} deviations");
    }
    // The measure sees what is wrong.
    assert!(found.data.energy_of_noise > 20.0 * PROMISED * floor);
    // The flow ends where the data is.
    let paths = gallery.trajectories.expect("trajectories").paths;
    let values = swiss_roll::VALUES;
    assert!(paths.iter().all(|path| path.len() > 100));
    let ends: Vec<f32> = paths
        .iter()
        .flat_map(|path| path.x[path.x.len() - values..].to_vec())
        .collect();
    assert!(ends.iter().all(|x| x.abs() <= 1.0));
    Ok(())
}

/// Too few steps cost something, which the distance must show: it is no
/// number that everything passes.
#[test]
fn too_few_steps_are_seen() -> Result<()> {
    let blob = std::fs::read(models().join("swiss-roll.tddpm"))?;
    let model = Model::load(&blob)?;
    let held_out = swiss_roll::draw(Split::Test, COUNT);
    let distance = |steps| -> Result<f64> {
        let request = Request {
            count: COUNT,
            steps,
            ..Request::recommended(
                model.topology().data(),
                model.info().recommended,
                0,
                Some(Classes::None),
            )
        };
        let points: Points =
            generate_points(&model, &request, |_| std::ops::ControlFlow::Continue(()))?;
        Ok(energy_distance(&points, &held_out))
    };
    assert!(distance(3)? > 3.0 * distance(model.info().recommended.steps)?);
    Ok(())
}
