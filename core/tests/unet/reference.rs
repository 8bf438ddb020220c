//! Every layer of a run, computed again in `f64` from what the layer read.
//!
//! The network is walked once more, in the meaning of this file: each
//! operation takes its inputs as they were observed, and its output must be
//! what was observed, to the last rounding.

use super::common::{int4_blob, random_blob, transformed_blob};
use super::definition::{self, Plane, silu};
use super::topologies;
use std::convert::Infallible;
use tiny_ddpm::blob::records::{
    ConvRecord, InputRecord, LinearRecord, MixRecord, NormRecord, OutputRecord, Records,
    TableRecord, WeightLayout,
};
use tiny_ddpm::diffusion::noise::Noise;
use tiny_ddpm::graph::FREQUENCIES;
use tiny_ddpm::graph::{
    Activation, Attention, Conv, Extra, Interpreter, LayerId, Linear, Norm, Part, Shape, Stage,
    Table, walk,
};
use tiny_ddpm::{Data, Model, Topology, Unet};

/// A run of the network, and the records read again.
struct Reference<'b> {
    topology: Topology,
    records: Records<'b>,
    observed: Vec<(LayerId, Plane)>,
    timestep: u16,
    class: Option<u8>,
    x_t: Vec<f32>,
    out: Vec<f32>,
    embedding: Vec<f64>,
}

fn words(bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks(4)
        .map(|word| f64::from(i32::from_le_bytes(word.try_into().unwrap())))
        .collect()
}

fn floats(bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks(4)
        .map(|word| f64::from(f32::from_le_bytes(word.try_into().unwrap())))
        .collect()
}

fn halfwords(bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks(2)
        .map(|half| f64::from(i16::from_le_bytes(half.try_into().unwrap())))
        .collect()
}

/// Weights as training knows them.
fn rows(op: &Conv<LayerId>, layout: WeightLayout, packed: &[u8]) -> Vec<i8> {
    let mut rows = vec![0; op.fan_in() * op.channels];
    layout.unpack(op.geometry, op.input_channels(), packed, &mut rows);
    rows
}

fn linear(record: &LinearRecord<'_>, x: &[f64]) -> Vec<f64> {
    let weights = halfwords(record.weights);
    let rows = weights.chunks(x.len()).zip(floats(record.scales));
    rows.zip(floats(record.bias))
        .map(|((row, scale), bias)| {
            row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() * scale + bias
        })
        .collect()
}

impl Reference<'_> {
    fn plane(&self, layer: LayerId) -> &Plane {
        let found = self.observed.iter().find(|(s, _)| *s == layer);
        &found
            .unwrap_or_else(|| panic!("{layer} was not observed"))
            .1
    }

    fn inputs(&self, x: Activation<LayerId>, skip: Option<Activation<LayerId>>) -> Vec<&Plane> {
        let sites = [Some(x.data), skip.map(|skip| skip.data)];
        sites.into_iter().flatten().map(|s| self.plane(s)).collect()
    }

    /// `exact` is in output steps from the zero point.
    fn check(&self, layer: LayerId, shape: Shape, exact: &[f64], allowed: f64) {
        let plane = self.plane(layer);
        assert_eq!(
            (plane.shape, exact.len()),
            (shape, shape.values()),
            "{layer}"
        );
        for (i, (&found, exact)) in plane.values.iter().zip(exact).enumerate() {
            let zero = plane.zero_points[i % shape.channels];
            let expected = (exact + zero).clamp(-128.0, 127.0);
            let error = (f64::from(found) - expected).abs();
            assert!(
                error <= allowed,
                "{layer} at {i}: {found}, exactly {expected}"
            );
        }
    }

    /// The pixel under channel `within` of a patch.
    fn pixel(&self, row: usize, column: usize, within: usize) -> usize {
        if let Data::Point { .. } = self.topology.data() {
            return within;
        }
        let patch = usize::from(self.topology.patch);
        let (y, x) = (
            row * patch + within / patch,
            column * patch + within % patch,
        );
        y * usize::from(self.topology.image_size) + x
    }
}

impl Interpreter for Reference<'_> {
    type Data = LayerId;
    type Error = Infallible;

    fn timestep(&mut self, features: usize) -> Result<(), Infallible> {
        let half = features / 2;
        let angles = (0..half)
            .map(|k| f64::from(self.timestep) * 10_000_f64.powf(-(k as f64) / half as f64));
        let angles: Vec<f64> = angles.collect();
        let sines = angles.iter().map(|a| a.sin());
        self.embedding = sines.chain(angles.iter().map(|a| a.cos())).collect();
        Ok(())
    }

    fn linear(&mut self, layer: &Linear) -> Result<(), Infallible> {
        let record = self.records.next_record().unwrap();
        let y = linear(&record, &self.embedding).into_iter();
        let y = y.map(|y| if layer.silu { silu(y) } else { y });
        self.embedding = y.collect();
        Ok(())
    }

    fn classes(&mut self, table: &Table) -> Result<(), Infallible> {
        let record: TableRecord<'_> = self.records.next_record().unwrap();
        let row = self.class.map_or(table.rows - 1, usize::from);
        let values = halfwords(record.values)[row * table.width..].to_vec();
        for (e, value) in self.embedding.iter_mut().zip(values) {
            *e = silu(*e + value * f64::from(record.scale));
        }
        Ok(())
    }

    fn projection(&mut self, _: &Linear) -> Result<(), Infallible> {
        Ok(())
    }

    fn input(&mut self, shape: Shape) -> Result<LayerId, Infallible> {
        let record: InputRecord = self.records.next_record().unwrap();
        let mut exact = Vec::new();
        if let Data::Point { .. } = self.topology.data() {
            let step = f64::from(record.output.scale);
            let x: Vec<f64> = self.x_t.iter().map(|&x| f64::from(x)).collect();
            exact.extend(x.iter().map(|x| x / step));
            for frequency in FREQUENCIES.map(f64::from) {
                exact.extend(x.iter().map(|x| (frequency * x).sin() / step));
                exact.extend(x.iter().map(|x| (frequency * x).cos() / step));
            }
            let layer = LayerId::new(Stage::Input, Part::Whole);
            // Angles are f32.
            self.check(layer, shape, &exact, 0.501);
            return Ok(layer);
        }
        for row in 0..shape.side {
            for column in 0..shape.side {
                for within in 0..shape.channels {
                    let x = self.x_t[self.pixel(row, column, within)];
                    exact.push(f64::from(x) / f64::from(record.output.scale));
                }
            }
        }
        let layer = LayerId::new(Stage::Input, Part::Whole);
        self.check(layer, shape, &exact, 0.5001);
        Ok(layer)
    }

    fn norm(&mut self, op: &Norm<LayerId>) -> Result<LayerId, Infallible> {
        let record: NormRecord<'_> = self.records.next_record().unwrap();
        let gains: Vec<f64> = words(record.gains).iter().map(|g| g / 32768.0).collect();
        let offsets: Vec<f64> = words(record.offsets).iter().map(|o| o / 32768.0).collect();
        let group = usize::from(self.topology.group_channels);
        let shape = op.output();
        let mut exact = vec![0.0; shape.values()];
        let mut first = 0;
        for plane in self.inputs(op.x, op.skip) {
            let channels = plane.shape.channels;
            let u = definition::norm(plane, group, &gains[first..], &offsets[first..]);
            for (i, u) in u.into_iter().enumerate() {
                let u = u.clamp(-8.0, 8.0 - 1.0 / 128.0);
                let y = if op.silu { silu(u) } else { u };
                let index = i / channels * shape.channels + first + i % channels;
                exact[index] = y * f64::from(record.multiplier) / 256.0;
            }
            first += channels;
        }
        self.check(op.id, shape, &exact, 1.0);
        Ok(op.id)
    }

    fn conv(&mut self, op: &Conv<LayerId>) -> Result<LayerId, Infallible> {
        let record: ConvRecord<'_> = self.records.next_record().unwrap();
        let mut initial = words(record.bias);
        if matches!(op.extra, Extra::Embedding(_)) {
            let projection = self.records.next_record().unwrap();
            let added = linear(&projection, &self.embedding);
            initial.iter_mut().zip(added).for_each(|(i, a)| *i += a);
        }
        let inputs = self.inputs(op.x, op.skip);
        let sums = definition::conv(
            &inputs,
            op.geometry,
            &rows(op, record.layout, record.weights),
            op.channels,
        );
        let multipliers = words(record.multipliers);
        let exact: Vec<f64> = sums
            .iter()
            .enumerate()
            .map(|(i, sum)| {
                let channel = i % op.channels;
                let residual = match op.extra {
                    // The factor is for the largest steps of both, which are equal.
                    Extra::Residual(residual) => {
                        self.plane(residual.data).real(i) / self.plane(op.id).steps[channel]
                    }
                    _ => 0.0,
                };
                (sum + initial[channel]) * multipliers[channel] / 4_294_967_296.0
                    + residual * f64::from(record.residual) / 16_777_216.0
            })
            .collect();
        // The embedding is 16 bits wide, and rounded when it is added.
        self.check(op.id, op.output(), &exact, 0.52);
        Ok(op.id)
    }

    fn attention(&mut self, op: &Attention<LayerId>) -> Result<LayerId, Infallible> {
        let record: MixRecord = self.records.next_record().unwrap();
        let planes = [op.query, op.key, op.value].map(|operand| self.plane(operand.data));
        let logit = f64::from(record.logit) / 4_294_967_296.0;
        let heads = usize::from(self.topology.heads);
        let exact: Vec<f64> = definition::attention(planes, heads, logit)
            .into_iter()
            .map(|mixed| mixed * f64::from(record.value) / 65536.0)
            .collect();
        self.check(op.id, op.query.shape, &exact, 1.0);
        Ok(op.id)
    }

    fn output(&mut self, op: &Conv<LayerId>) -> Result<(), Infallible> {
        let record: OutputRecord<'_> = self.records.next_record().unwrap();
        let (bias, scales) = (words(record.bias), floats(record.scales));
        let inputs = self.inputs(op.x, None);
        let sums = definition::conv(
            &inputs,
            op.geometry,
            &rows(op, WeightLayout::Direct, record.weights),
            op.channels,
        );
        for (i, sum) in sums.iter().enumerate() {
            let (position, channel) = (i / op.channels, i % op.channels);
            let side = op.x.shape.side;
            let pixel = self.pixel(position / side, position % side, channel);
            let expected = (sum + bias[channel]) * scales[channel];
            let error = (f64::from(self.out[pixel]) - expected).abs();
            assert!(
                error <= 1e-6 * expected.abs(),
                "pixel {pixel}: off by {error}"
            );
        }
        Ok(())
    }

    fn release(&mut self, _: LayerId) {}
}

#[test]
fn every_layer_is_its_definition() {
    for (index, topology) in topologies().into_iter().enumerate() {
        for (seed, timestep, class) in [(1, 1, None), (2, 321, Some(0)), (3, 1000, Some(2))] {
            let class = class.filter(|&class| u16::from(class) < topology.classes);
            let blob = match seed {
                1 => transformed_blob(topology.clone(), seed),
                2 => int4_blob(topology.clone(), seed),
                _ => random_blob(topology.clone(), seed),
            };
            let model = Model::load(&blob).unwrap();
            let pixels = topology.pixels();
            let (mut x_t, mut out) = (vec![0.0; pixels], vec![f32::NAN; pixels]);
            Noise::new(seed, index as u64).fill(&mut x_t);
            let mut workspace = vec![0; model.workspace_words()];
            let mut unet = Unet::new(&model, &mut workspace).unwrap();
            let mut observed = Vec::new();
            unet.predict_observed(&x_t, timestep, class, &mut out, |observation| {
                let plane = Plane::from(observation);
                for i in 0..plane.values.len() {
                    let (real, found) = (plane.real(i), f64::from(observation.value(i)));
                    let error = (found - real).abs();
                    assert!(error <= 1e-6 * real.abs(), "value {i} is off by {error}");
                }
                observed.push((observation.layer, plane));
            })
            .unwrap();
            // Saturated values would agree with almost anything.
            let values = || observed.iter().flat_map(|(_, plane)| &plane.values);
            let inside = values().filter(|&&q| q != -128 && q != 127).count();
            let share = inside as f64 / values().count() as f64;
            assert!(share > 0.7, "only {share} of all values are not saturated");

            let mut reference = Reference {
                topology: topology.clone(),
                records: model.records(),
                observed,
                timestep,
                class,
                x_t,
                out,
                embedding: Vec::new(),
            };
            let Ok(()) = walk(&mut reference, &topology);
            assert_eq!(reference.records.remaining(), 0);
        }
    }
}
