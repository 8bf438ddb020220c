//! A batch in pieces, each worked on by a thread.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

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
