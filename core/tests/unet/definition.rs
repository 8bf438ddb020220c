//! The layers' definitions in `f64`, on the integers that a layer read.

use tiny_ddpm::graph::{Geometry, Shape};
use tiny_ddpm::unet::Observation;

/// An activation as it was observed.
#[derive(Clone, Debug)]
pub struct Plane {
    pub shape: Shape,
    /// One step of each channel.
    pub steps: Vec<f64>,
    /// What stands for 0 in each channel.
    pub zero_points: Vec<f64>,
    pub values: Vec<i8>,
}

impl From<&Observation<'_>> for Plane {
    fn from(observation: &Observation<'_>) -> Self {
        let (shape, quant) = (observation.shape, observation.quant);
        let mut steps = vec![f64::from(quant.scale); shape.channels];
        if !quant.shifts.is_empty() {
            assert_eq!(quant.shifts.len(), shape.channels);
            for (step, &shift) in steps.iter_mut().zip(quant.shifts) {
                *step /= f64::from(shift).exp2();
            }
        }
        let mut zero_points = vec![f64::from(quant.zero_point); shape.channels];
        if !quant.zero_points.is_empty() {
            assert_eq!(quant.zero_points.len(), 2 * shape.channels);
            for (zero, bytes) in zero_points.iter_mut().zip(quant.zero_points.chunks(2)) {
                *zero = f64::from(i16::from_le_bytes(bytes.try_into().unwrap()));
            }
        }
        Self {
            shape,
            steps,
            zero_points,
            values: observation.values.to_vec(),
        }
    }
}

impl Plane {
    /// q - zero point; 0 outside the plane.
    fn at(&self, row: isize, column: isize, channel: usize) -> f64 {
        let inside = 0..self.shape.side as isize;
        if !inside.contains(&row) || !inside.contains(&column) {
            return 0.0;
        }
        let position = row as usize * self.shape.side + column as usize;
        self.centred(position * self.shape.channels + channel)
    }

    /// q - zero point of value `index`.
    pub fn centred(&self, index: usize) -> f64 {
        f64::from(self.values[index]) - self.zero_points[index % self.shape.channels]
    }

    /// What value `index` stands for.
    pub fn real(&self, index: usize) -> f64 {
        self.steps[index % self.shape.channels] * self.centred(index)
    }
}

/// Σ w (q - zero point) plus what the zero points make of a folded bias:
/// positions by output channels.
pub fn conv(inputs: &[&Plane], geometry: Geometry, weights: &[i8], outputs: usize) -> Vec<f64> {
    let side = inputs[0].shape.side;
    let channels: usize = inputs.iter().map(|plane| plane.shape.channels).sum();
    let output_side = geometry.output_side(side);
    let taps: Vec<(isize, isize)> = match geometry {
        Geometry::Pointwise => vec![(0, 0)],
        _ => (-1..=1)
            .flat_map(|dy| (-1..=1).map(move |dx| (dy, dx)))
            .collect(),
    };
    let source = |output: usize, offset: isize| match geometry {
        Geometry::Down => 2 * output as isize + offset,
        // Rounds down, so that -1 stays outside.
        Geometry::Up => (output as isize + offset).div_euclid(2),
        _ => output as isize + offset,
    };
    let mut sums = Vec::new();
    for row in 0..output_side {
        for column in 0..output_side {
            for output in 0..outputs {
                let mut weights = weights[output * taps.len() * channels..].iter();
                let mut sum = 0.0;
                for &(dy, dx) in &taps {
                    for plane in inputs {
                        for channel in 0..plane.shape.channels {
                            let weight = f64::from(*weights.next().unwrap());
                            let value = plane.at(source(row, dy), source(column, dx), channel);
                            sum += weight * (value + plane.zero_points[channel]);
                        }
                    }
                }
                sums.push(sum);
            }
        }
    }
    sums
}

/// gain (x - mean) / sqrt(variance + 1e-5) + offset of one plane.
pub fn norm(plane: &Plane, group: usize, gains: &[f64], offsets: &[f64]) -> Vec<f64> {
    let channels = plane.shape.channels;
    let real = |i: usize| plane.real(i);
    let mut result = vec![0.0; plane.values.len()];
    for first in (0..channels).step_by(group) {
        let members: Vec<usize> = (0..plane.values.len())
            .filter(|i| (first..first + group).contains(&(i % channels)))
            .collect();
        let count = members.len() as f64;
        let mean = members.iter().map(|&i| real(i)).sum::<f64>() / count;
        let variance = members
            .iter()
            .map(|&i| (real(i) - mean).powi(2))
            .sum::<f64>()
            / count;
        for i in members {
            let normalised = (real(i) - mean) / (variance + 1e-5).sqrt();
            result[i] = gains[i % channels] * normalised + offsets[i % channels];
        }
    }
    result
}

/// Σ softmax(`logit` q.k) v, head by head, in base 2.
pub fn attention(planes: [&Plane; 3], heads: usize, logit: f64) -> Vec<f64> {
    let [queries, keys, values] = planes;
    let channels = queries.shape.channels;
    let (tokens, width) = (queries.shape.side.pow(2), channels / heads);
    let mut result = vec![0.0; queries.values.len()];
    for query in 0..tokens {
        for head in 0..heads {
            let own = head * width..(head + 1) * width;
            let weights: Vec<f64> = (0..tokens)
                .map(|key| {
                    let products = own.clone().map(|c| {
                        queries.centred(query * channels + c) * keys.centred(key * channels + c)
                    });
                    (products.sum::<f64>() * logit).exp2()
                })
                .collect();
            let sum: f64 = weights.iter().sum();
            for c in own {
                let mixed =
                    (0..tokens).map(|t| weights[t] / sum * values.centred(t * channels + c));
                result[query * channels + c] = mixed.sum();
            }
        }
    }
    result
}

pub fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}
