//! Gradients of a batch: found in pieces, in parallel, then added and clipped.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::batch::Batch;
use super::qat::Rounded;
use super::teacher::Teacher;
use crate::network::NoTaps;
use crate::network::shards::in_shards;
use crate::network::{Forward, Network};

/// The mean squared error over a batch, weighted where the batch says so, and
/// its gradients.
///
/// The batch is cut into `shards` equal pieces, each worked on by a thread: a
/// CPU backend runs many of its operations on one core. The pieces are added
/// in order, so the result does not depend on which thread is first. With
/// `rounded`, which is of the same model, it is the rounded network's; with a
/// teacher, its predictions take the place of the batch's targets.
pub fn loss_and_gradients(
    model: &Network,
    rounded: Option<&Rounded<'_>>,
    teacher: Option<&Teacher>,
    batch: &Batch,
    shards: usize,
    device: &Device,
) -> (f32, GradientsParams) {
    let size = batch.timesteps.len() / shards;
    let ([loss], gradients) = in_shards(model, shards, |shard| {
        let (loss, gradients) = piece(model, rounded, teacher, batch, shard * size, size, device);
        ([loss], gradients)
    });
    (loss, gradients)
}

/// The loss of `count` pictures from `first` on.
fn piece(
    model: &Network,
    rounded: Option<&Rounded<'_>>,
    teacher: Option<&Teacher>,
    batch: &Batch,
    first: usize,
    count: usize,
    device: &Device,
) -> (f32, GradientsParams) {
    // Parameters that are leaves of a graph of their own, so that no thread
    // waits for another.
    let model = model.clone().no_grad().set_require_grad(true);
    let pixels = batch.x_t.len() / batch.timesteps.len();
    let tensor =
        |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [count, pixels]), device);
    let own = |values: &[f32]| values[first * pixels..(first + count) * pixels].to_vec();
    let pieces = first..first + count;
    let target = match teacher {
        Some(teacher) => teacher.target(batch, pieces.clone()),
        None => own(&batch.target),
    };
    let x_t = tensor(own(&batch.x_t));
    let timesteps = &batch.timesteps[pieces.clone()];
    let classes = &batch.classes[pieces.clone()];
    let output = match rounded {
        Some(rounded) => model.forward_with(x_t, timesteps, classes, &mut rounded.taps(device)),
        None => model.forward_with(x_t, timesteps, classes, &mut NoTaps),
    };
    let mut errors = (output - tensor(target)).square();
    if let Some(weights) = batch.weights.get(pieces) {
        let weights = TensorData::new(weights.to_vec(), [count, 1]);
        errors = errors * Tensor::<2>::from_data(weights, device);
    }
    let loss = errors.mean();
    let value = loss.clone().into_scalar::<f32>();
    (value, GradientsParams::from_grads(loss.backward(), &model))
}

/// Scales all gradients down together where their common norm is above `limit`;
/// gives the norm before.
pub fn clip<M: Module>(model: &M, gradients: &mut GradientsParams, limit: f64) -> f64 {
    let mut squares = Squares {
        gradients,
        sum: None,
    };
    model.visit(&mut squares);
    let sum = squares.sum.map_or(0.0, |sum| sum.into_scalar::<f32>());
    let norm = f64::from(sum).sqrt();
    if norm > limit {
        model.visit(&mut Scale {
            gradients,
            factor: limit / norm,
        });
    }
    norm
}

struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}
