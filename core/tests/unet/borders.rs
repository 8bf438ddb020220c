//! What the network accepts, and what its answer depends on.

use super::common::{random_blob, small_topology, smallest_topology, transformed_blob};
use super::topologies;
use tiny_ddpm::blob::records::Record;
use tiny_ddpm::blob::{HEADER_LEN, header};
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::picture::state_hash;
use tiny_ddpm::unet::UnetError;
use tiny_ddpm::{
    Buffers, Denoiser, InPlace, InPlaceSampler, Method, Model, Sampler, Settings, SolverOrder,
    Spacing, Topology, Unet, Variance,
};

/// CRC-32 of one prediction of each of [`topologies`].
const GOLDEN: [u32; 6] = [
    0xb46c_f360,
    0x6f92_7108,
    0x1500_a473,
    0x6def_9d30,
    0x1b3d_5ab2,
    0x14a2_c0ba,
];

fn noise(count: usize) -> Vec<f32> {
    let mut x = vec![0.0; count];
    Noise::new(9, 9).fill(&mut x);
    x
}

/// One prediction in a fresh workspace, or one that is given.
fn predict(model: &Model<'_>, timestep: u16, class: Option<u8>) -> Vec<f32> {
    let mut workspace = vec![0; model.workspace_words()];
    predict_in(model, &mut workspace, timestep, class)
}

fn predict_in(
    model: &Model<'_>,
    workspace: &mut [u32],
    timestep: u16,
    class: Option<u8>,
) -> Vec<f32> {
    let pixels = model.topology().pixels();
    let mut out = vec![f32::NAN; pixels];
    let mut unet = Unet::new(model, workspace).unwrap();
    unet.predict(&noise(pixels), timestep, class, &mut out)
        .unwrap();
    out
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Where the embedding is what needs most memory, of an even length or odd.
#[test]
fn an_embedding_at_the_peak_has_room() {
    for embedding in [510, 511] {
        let topology = Topology {
            embedding,
            ..smallest_topology()
        };
        let blob = random_blob(topology, 1);
        let model = Model::load(&blob).unwrap();
        let mut least = vec![0; model.least_workspace_words()];
        let found = predict_in(&model, &mut least, 500, None);
        assert_eq!(bits(&found), bits(&predict(&model, 500, None)));
        assert!(found.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn a_workspace_one_word_short_is_refused() {
    for topology in topologies() {
        let blob = random_blob(topology, 1);
        let model = Model::load(&blob).unwrap();
        let needed = model.least_workspace_words();
        let mut workspace = vec![0; needed];
        assert!(Unet::new(&model, &mut workspace).is_ok());
        let error = Unet::new(&model, &mut workspace[1..]).unwrap_err();
        let found = needed - 1;
        assert_eq!(error, UnetError::Workspace { needed, found });
        let message = error.to_string();
        assert!(message.contains(&needed.to_string()), "{message}");
        assert!(Unet::new(&model, &mut []).is_err());
    }
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    let blob = random_blob(small_topology(), 1);
    let model = Model::load(&blob).unwrap();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    let (x, mut out) = (vec![0.0; 65], vec![7.0; 65]);

    let pixels = |found| UnetError::Pixels {
        expected: 64,
        found,
    };
    for found in [0, 63, 65] {
        let error = unet.predict(&x[..found], 1, None, &mut out[..64]);
        assert_eq!(error, Err(pixels(found)));
        let error = unet.predict(&x[..64], 1, None, &mut out[..found]);
        assert_eq!(error, Err(pixels(found)));
    }
    for found in [0, 1001, u16::MAX] {
        let error = unet.predict(&x[..64], found, None, &mut out[..64]);
        let timesteps = 1000;
        assert_eq!(error, Err(UnetError::Timestep { found, timesteps }));
    }
    for found in [3, 12, 255] {
        let error = unet.predict(&x[..64], 1, Some(found), &mut out[..64]);
        assert_eq!(error, Err(UnetError::Class { found, classes: 3 }));
        let message = error.unwrap_err().to_string();
        assert!(message.contains(&found.to_string()), "{message}");
    }
    assert!(out.iter().all(|&v| v == 7.0), "a refusal wrote something");
    for class in [None, Some(0), Some(2)] {
        assert_eq!(unet.predict(&x[..64], 1000, class, &mut out[..64]), Ok(()));
    }
}

#[test]
fn each_of_256_classes_has_numbers_of_its_own() {
    let topology = Topology {
        classes: 256,
        ..small_topology()
    };
    let blob = random_blob(topology, 5);
    let model = Model::load(&blob).unwrap();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    let mut x = [0.0; 64];
    Noise::new(5, 0).fill(&mut x);
    let classes = (0..=255).map(Some).chain([None]);
    let mut seen: Vec<u32> = classes
        .map(|class| {
            let mut out = [0.0; 64];
            unet.predict(&x, 500, class, &mut out).unwrap();
            state_hash(&out)
        })
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 250, "only {} differ", seen.len());
}

#[test]
fn a_network_without_classes_refuses_them() {
    let topology = Topology {
        classes: 0,
        ..small_topology()
    };
    let blob = random_blob(topology, 1);
    let model = Model::load(&blob).unwrap();
    let mut workspace = vec![0; model.workspace_words()];
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    let (x, mut out) = ([0.0; 64], [0.0; 64]);
    let error = unet.predict(&x, 1, Some(0), &mut out);
    let refused = UnetError::Class {
        found: 0,
        classes: 0,
    };
    assert_eq!(error, Err(refused));
    assert_eq!(unet.predict(&x, 1, None, &mut out), Ok(()));
}

/// The blob with zeros in the row of its class table that stands for no class.
fn without_null_row(mut blob: Vec<u8>) -> Vec<u8> {
    let model = Model::load(&blob).unwrap();
    assert!(!model.is_conditional_only());
    let (bytes, arch_hash) = (
        2 * usize::from(model.topology().embedding),
        model.arch_hash(),
    );
    let mut end = 0;
    model.for_each_layer(|layer| {
        if let Record::Table(classes) = layer.record {
            end = classes.values.as_ptr_range().end.addr() - blob.as_ptr().addr();
        }
    });
    blob[end - bytes..end].fill(0);
    let (head, body) = blob.split_at_mut(HEADER_LEN);
    head.copy_from_slice(&header::seal(arch_hash, body));
    blob
}

#[test]
fn a_model_trained_with_a_class_alone_runs_with_one_alone() {
    let blob = without_null_row(random_blob(small_topology(), 1));
    let model = Model::load(&blob).unwrap();
    assert!(model.is_conditional_only());
    let mut workspace = vec![0; model.plan().guided_workspace_words()];
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    let (x, mut out) = ([0.25; 64], [7.0; 64]);
    let refused = Err(UnetError::ConditionalOnly);
    assert_eq!(unet.predict(&x, 1, None, &mut out), refused);
    assert_eq!(out, [7.0; 64]);
    assert_eq!(unet.predict(&x, 1, Some(2), &mut out), Ok(()));

    let mut changed = x;
    let mut each = |_: usize, x: &mut f32, _: f32| *x = 9.0;
    assert_eq!(unet.update(&mut changed, 1, None, 0.0, &mut each), refused);
    assert_eq!(
        unet.update(&mut changed, 1, Some(2), 0.5, &mut each),
        refused
    );
    assert_eq!(changed, x);
    assert_eq!(
        unet.update(&mut changed, 1, Some(2), 0.0, &mut each),
        Ok(())
    );
    assert_eq!(changed, [9.0; 64]);

    // A model without classes always takes the last row, whatever it holds.
    let topology = Topology {
        classes: 0,
        ..small_topology()
    };
    let blob = without_null_row(random_blob(topology, 1));
    let model = Model::load(&blob).unwrap();
    assert!(!model.is_conditional_only());
    predict(&model, 500, None);
}

#[test]
fn the_answer_does_not_depend_on_the_workspace() {
    for topology in topologies() {
        let blob = random_blob(topology, 2);
        let model = Model::load(&blob).unwrap();
        let expected = bits(&predict(&model, 500, None));
        // Among them NaN and the extremes of every narrower type.
        for word in [u32::MAX, 0x7fc0_0000, 0x8080_8080, 0x7f7f_7f7f] {
            let mut workspace = vec![word; model.workspace_words()];
            let found = bits(&predict_in(&model, &mut workspace, 500, None));
            assert_eq!(found, expected, "workspace of {word:#x}");
        }
    }
}

#[test]
fn predicting_twice_gives_the_same_bits() {
    for topology in topologies() {
        let blob = random_blob(topology, 3);
        let model = Model::load(&blob).unwrap();
        let mut workspace = vec![0; model.workspace_words()];
        let first = predict_in(&model, &mut workspace, 77, None);
        // Of one frequency alone, sine and cosine must differ.
        let other = predict_in(&model, &mut workspace, 500, None);
        let again = predict_in(&model, &mut workspace, 77, None);
        assert_eq!(bits(&first), bits(&again));
        assert_ne!(bits(&first), bits(&other));
    }
}

/// The bits that every target and every kernel must give. They change with
/// the arithmetic, and then every picture of a released model does.
#[test]
fn the_answer_has_its_golden_bits() {
    let hashes: Vec<u32> = topologies()
        .into_iter()
        .map(|topology| {
            let blob = random_blob(topology, 8);
            let model = Model::load(&blob).unwrap();
            state_hash(&predict(&model, 250, None))
        })
        .collect();
    assert_eq!(hashes, GOLDEN, "found {hashes:#010x?}");
}

/// How the weights are stored is no part of the answer.
#[test]
fn transformed_weights_give_the_same_bits() {
    for topology in topologies() {
        for seed in 0..4 {
            let plain = random_blob(topology.clone(), seed);
            let transformed = transformed_blob(topology.clone(), seed);
            assert_ne!(plain, transformed);
            let [plain, transformed] = [&plain, &transformed].map(|blob| {
                let model = Model::load(blob).unwrap();
                bits(&predict(&model, 250, None))
            });
            assert_eq!(plain, transformed);
        }
    }
}

/// Skip connections lie at the end of the workspace, however long it is, and
/// convolutions take as much scratch as there is room for.
#[test]
fn a_workspace_of_any_length_gives_the_same_bits() {
    let mut narrower = 0;
    for topology in topologies() {
        let blob = random_blob(topology, 4);
        let model = Model::load(&blob).unwrap();
        let (least, full) = (model.least_workspace_words(), model.workspace_words());
        assert!(least <= full);
        narrower += usize::from(least < full);
        let expected = bits(&predict(&model, 1000, None));
        for words in [least, least + 1, least.midpoint(full), full + 1000] {
            let mut workspace = vec![0xdead_beef; words];
            let found = predict_in(&model, &mut workspace, 1000, None);
            assert_eq!(bits(&found), expected, "{words} words");
        }
    }
    assert!(narrower > 1, "no network had less to do with");
}

/// In place and apart, guided and not, with noise and without.
#[test]
fn in_place_makes_the_pictures_of_many_buffers() {
    for topology in topologies() {
        let blob = random_blob(topology, 7);
        let model = Model::load(&blob).unwrap();
        let plan = *model.plan();
        let pixels = model.topology().pixels();
        let class = (model.topology().classes > 0).then_some(0);
        for method in [
            Method::Ddim { eta: 0.0 },
            Method::Ddim { eta: 0.7 },
            Method::Ddpm {
                variance: Variance::Posterior,
            },
            Method::EulerMaruyama,
            Method::Heun,
            Method::DpmSolver,
            Method::UniPc {
                order: SolverOrder::First,
            },
            Method::UniPc {
                order: SolverOrder::Second,
            },
            Method::Consistency,
        ] {
            for guidance in [0.0, 0.5] {
                if guidance != 0.0 && class.is_none() {
                    continue;
                }
                let settings = Settings::new(method, 3)
                    .class(class)
                    .seed(5)
                    .picture(1)
                    .guidance(guidance)
                    .spacing(Spacing::Quadratic);
                let mut workspace = vec![0; plan.workspace_words()];
                let mut unet = Unet::new(&model, &mut workspace).unwrap();
                let mut buffers = [1, 1, 1, 2].map(|pictures| vec![0.0; pictures * pixels]);
                let [x, x0_hat, unconditional, memory] = &mut buffers;
                let buffers = Buffers {
                    x,
                    x0_hat,
                    unconditional,
                    history: memory,
                };
                let mut sampler = Sampler::new(model.schedule(), settings, buffers).unwrap();
                let mut steps = Vec::new();
                while let Some(step) = sampler.step(&mut unet).unwrap() {
                    steps.push((step, bits(sampler.x())));
                }
                let lengths = match guidance {
                    0.0 => [plan.least_workspace_words(), plan.workspace_words()],
                    _ => [
                        plan.least_guided_workspace_words(),
                        plan.guided_workspace_words(),
                    ],
                };
                for words in lengths {
                    let mut workspace = vec![u32::MAX; words];
                    let mut unet = Unet::new(&model, &mut workspace).unwrap();
                    let mut x = vec![0.0; pixels];
                    // A shorter one would be refused.
                    let mut memory = vec![f32::NAN; method.history_len(pixels)];
                    let mut sampler =
                        InPlaceSampler::new(model.schedule(), settings, &mut x, &mut memory)
                            .unwrap();
                    for expected in &steps {
                        let step = sampler.step(&mut unet).unwrap().unwrap();
                        assert_eq!((step, bits(sampler.x())), *expected);
                    }
                    assert_eq!(sampler.step(&mut unet), Ok(None));
                }
            }
        }
    }
}

#[test]
fn guidance_in_place_without_its_workspace_is_refused() {
    let blob = random_blob(small_topology(), 1);
    let model = Model::load(&blob).unwrap();
    let needed = model.plan().least_guided_workspace_words();
    assert!(model.least_workspace_words() < needed);
    let found = needed - 1;
    let mut workspace = vec![0; found];
    let mut unet = Unet::new(&model, &mut workspace).unwrap();
    let mut x = noise(64);
    let before = bits(&x);
    let refused = UnetError::Workspace { needed, found };
    let update = |_, x: &mut f32, _| *x = 7.0;
    let result = unet.update(&mut x, 1, Some(0), 0.5, &mut { update });
    assert_eq!(result, Err(refused));
    assert_eq!(bits(&x), before, "a refusal wrote something");
    assert_eq!(
        unet.update(&mut x, 1, Some(0), 0.0, &mut { update }),
        Ok(())
    );
    assert!(x.iter().all(|&x| x == 7.0), "a pixel was left out");
}

#[test]
fn timestep_and_class_matter() {
    let blob = random_blob(small_topology(), 5);
    let model = Model::load(&blob).unwrap();
    let mut answers = Vec::new();
    for timestep in [1, 2, 1000] {
        for class in [None, Some(0), Some(1), Some(2)] {
            answers.push(bits(&predict(&model, timestep, class)));
        }
    }
    let count = answers.len();
    answers.sort();
    answers.dedup();
    assert_eq!(answers.len(), count);
}

#[test]
fn an_observer_changes_nothing_and_sees_every_activation() {
    for topology in topologies() {
        let blob = random_blob(topology, 6);
        let model = Model::load(&blob).unwrap();
        let pixels = model.topology().pixels();
        let mut workspace = vec![0; model.workspace_words()];
        let mut out = vec![0.0; pixels];
        let mut unet = Unet::new(&model, &mut workspace).unwrap();
        let mut seen = Vec::new();
        unet.predict_observed(&noise(pixels), 10, None, &mut out, |observation| {
            assert_eq!(observation.values.len(), observation.shape.values());
            seen.push((observation.layer, observation.shape));
        })
        .unwrap();
        assert_eq!(bits(&out), bits(&predict(&model, 10, None)));

        let mut expected = Vec::new();
        model.for_each_layer(|layer| {
            use tiny_ddpm::blob::records::Record;
            if !matches!(
                layer.record,
                Record::Linear(_) | Record::Table(_) | Record::Output(_)
            ) {
                expected.push((layer.id, layer.output));
            }
        });
        assert_eq!(seen, expected);
    }
}

/// Whole pictures: every method, guided, to the end and the same again.
#[test]
fn a_sampler_makes_pictures_with_it() {
    let blob = random_blob(small_topology(), 7);
    let model = Model::load(&blob).unwrap();
    let picture = |method| {
        let mut workspace = vec![0; model.workspace_words()];
        let mut unet = Unet::new(&model, &mut workspace).unwrap();
        let (mut x, mut x0_hat, mut spare, mut memory) =
            ([0.0; 64], [0.0; 64], [0.0; 64], [0.0; 128]);
        let buffers = Buffers {
            x: &mut x,
            x0_hat: &mut x0_hat,
            unconditional: &mut spare,
            history: &mut memory,
        };
        let settings = Settings::new(method, 6)
            .class(Some(2))
            .seed(1)
            .guidance(0.5)
            .spacing(Spacing::LogSnr);
        let mut sampler = Sampler::new(model.schedule(), settings, buffers).unwrap();
        while sampler.step(&mut unet).unwrap().is_some() {}
        sampler.x().to_vec()
    };
    for method in [
        Method::Ddim { eta: 0.0 },
        Method::Ddim { eta: 1.0 },
        Method::Ddpm {
            variance: Variance::Beta,
        },
        Method::EulerMaruyama,
        Method::Heun,
        Method::DpmSolver,
        Method::UniPc {
            order: SolverOrder::Second,
        },
        Method::Consistency,
    ] {
        let first = picture(method);
        assert!(first.iter().all(|v| (-1.001..=1.001).contains(v)));
        assert_eq!(bits(&first), bits(&picture(method)));
    }
}
