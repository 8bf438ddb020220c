//! A picture may wait between any two of its steps: what happens to the
//! workspace in the meantime does not matter.

use super::common::{random_blob, small_topology};
use super::topologies;
use tiny_ddpm::blob::records::Record;
use tiny_ddpm::graph::Cost;
use tiny_ddpm::{
    Buffers, Denoiser, InPlaceSampler, Method, Model, Sampler, Settings, Spacing, Unet,
};

const STEPS: u16 = 4;

fn settings(method: &str, picture: u64) -> Settings {
    Settings::new(Method::from_name(method, 0.6).unwrap(), STEPS)
        .class(Some(1))
        .seed(3)
        .picture(picture)
        .guidance(0.5)
        .spacing(Spacing::LogSnr)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// The picture without a stop.
fn at_once(model: &Model<'_>, settings: Settings) -> Vec<u32> {
    let mut workspace = vec![0; model.plan().guided_workspace_words()];
    let mut unet = Unet::new(model, &mut workspace).unwrap();
    let pixels = model.topology().pixels();
    let mut buffers = [1, 1, 1, 2].map(|pictures| vec![0.0; pictures * pixels]);
    let [x, x0_hat, unconditional, memory] = &mut buffers;
    let buffers = Buffers {
        x,
        x0_hat,
        unconditional,
        history: memory,
    };
    let mut sampler = Sampler::new(model.schedule(), settings, buffers).unwrap();
    while sampler.step(&mut unet).unwrap().is_some() {}
    bits(sampler.x())
}

#[test]
fn a_picture_that_waits_after_every_step_is_the_same() {
    let blob = random_blob(small_topology(), 1);
    let model = Model::load(&blob).unwrap();
    let pixels = model.topology().pixels();
    // Another model's run in between leaves what it likes.
    let other_blob = random_blob(small_topology(), 2);
    let other = Model::load(&other_blob).unwrap();
    let words = model.plan().guided_workspace_words();
    let mut workspace = vec![0; words.max(other.workspace_words())];
    for method in Method::NAMES {
        let all = settings(method, 7);
        let expected = at_once(&model, all);
        let mut buffers = [1, 1, 1, 2].map(|pictures| vec![0.0; pictures * pixels]);
        let [x, x0_hat, unconditional, memory] = &mut buffers;
        let buffers = Buffers {
            x,
            x0_hat,
            unconditional,
            history: memory,
        };
        let mut sampler = Sampler::new(model.schedule(), all, buffers).unwrap();
        let (mut x, mut memory) = (vec![0.0; pixels], vec![0.0; 2 * pixels]);
        let mut in_place = InPlaceSampler::new(model.schedule(), all, &mut x, &mut memory).unwrap();
        let mut steps = 0;
        loop {
            let step = sampler.step(&mut Unet::new(&model, &mut workspace).unwrap());
            let mut out = vec![0.0; pixels];
            let mut unet = Unet::new(&other, &mut workspace).unwrap();
            unet.predict(&vec![0.9; pixels], 17, None, &mut out)
                .unwrap();
            let same = in_place.step(&mut Unet::new(&model, &mut workspace).unwrap());
            assert_eq!(step, same);
            if step.unwrap().is_none() {
                break;
            }
            steps += 1;
            workspace.fill(0xdead_beef ^ steps);
        }
        assert_eq!(steps, u32::from(all.method.evaluations(STEPS)), "{method}");
        assert_eq!(bits(sampler.x()), expected, "{method}");
        assert_eq!(bits(in_place.x()), expected, "{method}, in place");
    }
}

#[test]
fn pictures_that_take_turns_are_those_made_one_after_the_other() {
    let blob = random_blob(small_topology(), 1);
    let model = Model::load(&blob).unwrap();
    let pixels = model.topology().pixels();
    let mut workspace = vec![0; model.plan().guided_workspace_words()];
    let mut buffers: Vec<_> = Method::NAMES
        .map(|_| (vec![0.0; pixels], vec![0.0; 2 * pixels]))
        .into_iter()
        .collect();
    let mut samplers: Vec<_> = buffers
        .iter_mut()
        .zip(Method::NAMES)
        .zip(0..)
        .map(|(((x, memory), method), picture)| {
            let settings = settings(method, picture);
            InPlaceSampler::new(model.schedule(), settings, x, memory).unwrap()
        })
        .collect();
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    // Each in its turn, until none has a step left.
    let mut more = true;
    while more {
        more = false;
        for sampler in &mut samplers {
            more |= sampler.step(&mut unet).unwrap().is_some();
        }
    }
    for ((sampler, method), picture) in samplers.iter().zip(Method::NAMES).zip(0..) {
        let expected = at_once(&model, settings(method, picture));
        assert_eq!(bits(sampler.x()), expected, "{method}");
    }
}

/// Every activation that there is, the prediction, and the logits.
#[test]
fn the_work_is_what_a_run_does() {
    for topology in topologies() {
        let blob = random_blob(topology.clone(), 1);
        let model = Model::load(&blob).unwrap();
        let pixels = topology.pixels();
        let mut values = pixels;
        let mut macs = 0;
        model.for_each_layer(|layer| {
            macs += layer.macs;
            if matches!(layer.record, Record::Mix(_)) {
                values += usize::from(topology.heads) * layer.output.side.pow(4);
            }
        });
        let mut workspace = vec![0; model.workspace_words()];
        let mut unet = Unet::new(&model, &mut workspace).unwrap();
        let (x, mut out) = (vec![0.1; pixels], vec![0.0; pixels]);
        unet.predict_observed(&x, 5, None, &mut out, |layer| values += layer.values.len())
            .unwrap();
        let work = Cost::of(&topology);
        assert_eq!(u64::from(work.macs), macs);
        assert_eq!(work.values as usize, values);
        let embedding = usize::from(topology.time_features) + 2 * usize::from(topology.embedding);
        assert!(work.floats as usize > embedding + pixels);
    }
}
