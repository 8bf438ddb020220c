//! Gradients of a batch: found in pieces, in parallel, then added and clipped.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use super::batch::Batch;
use super::network::{Forward, Network};
use super::qat::Rounded;
use super::taps::NoTaps;
use super::teacher::Teacher;

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

/// The means of the losses and of the gradients of equal pieces, numbered from
/// 0, each worked on by a thread.
pub fn in_shards<M: Module, const N: usize>(
    model: &M,
    shards: usize,
    piece: impl Fn(usize) -> ([f32; N], GradientsParams) + Sync,
) -> ([f32; N], GradientsParams) {
    let mut parts: Vec<([f32; N], GradientsParams)> = if shards == 1 {
        vec![piece(0)]
    } else {
        let piece = &piece;
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..shards)
                .map(|shard| scope.spawn(move || piece(shard)))
                .collect();
            handles
                .into_iter()
                .map(|handle| {
                    let done = handle.join();
                    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        })
    };
    let losses = std::array::from_fn(|i| {
        parts.iter().map(|(losses, _)| losses[i]).sum::<f32>() / shards as f32
    });
    let mut mean = Mean {
        parts: parts.iter_mut().map(|(_, gradients)| gradients).collect(),
        result: GradientsParams::new(),
    };
    model.visit(&mut mean);
    (losses, mean.result)
}

/// The same for `count` pictures from `first` on.
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

struct Mean<'a> {
    parts: Vec<&'a mut GradientsParams>,
    result: GradientsParams,
}

impl ModuleVisitor for Mean<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let count = self.parts.len();
        let sum = self
            .parts
            .iter_mut()
            .filter_map(|part| part.remove::<D>(param.id))
            .reduce(|sum, gradient| sum + gradient);
        if let Some(sum) = sum {
            let mean = if count == 1 { sum } else { sum / count as f64 };
            self.result.register(param.id, mean);
        }
    }
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
