//! An exponential moving average of the weights: what is exported and sampled
//! from. It matters more for the pictures than twice the number of steps.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::container::TensorContainer;

use crate::network::Network;
use crate::network::optimizer::Collect;

/// The averaged weights, outside of any gradient graph.
#[derive(Clone, Debug)]
pub struct Ema {
    /// A network with the averaged weights.
    pub model: Network,
    decay: f64,
}

impl Ema {
    /// An average that starts at `model`.
    #[must_use]
    pub fn new(model: &Network, decay: f64) -> Self {
        Self {
            model: model.valid(),
            decay,
        }
    }

    /// Moves the average towards `model` after update number `updates`, counted
    /// from 0. The first updates move it further, so that the random start is
    /// forgotten early.
    #[must_use]
    pub fn update(self, model: &Network, updates: u32) -> Self {
        let n = f64::from(updates);
        let decay = self.decay.min((1.0 + n) / (10.0 + n));
        let mut current = Collect(TensorContainer::new());
        model.valid().visit(&mut current);
        Self {
            model: self.model.map(&mut Blend {
                current: current.0,
                decay,
            }),
            ..self
        }
    }
}

struct Blend {
    current: TensorContainer<ParamId>,
    decay: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let current = self
            .current
            .remove::<Tensor<D>>(&param.id)
            .expect("the average and the model have the same parameters");
        let decay = self.decay;
        param.map(|average| average * decay + current * (1.0 - decay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn the_average_moves_by_the_warmed_up_decay() {
        let config = crate::config::Config::preset("smoke").unwrap();
        let device = Device::flex().autodiff();
        struct Triple;
        impl ModuleMapper for Triple {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|value| value * 3.0)
            }
        }
        let start = Network::new(&config.network, 1, &device);
        let moved = start.clone().map(&mut Triple);
        let weight = |model: &Network| model.parameters()[0].values[0];
        let w = weight(&start);
        for (updates, decay) in [(0, 0.1), (90, 0.91), (1_000_000, 0.99)] {
            let average = weight(&Ema::new(&start, 0.99).update(&moved, updates).model);
            let expected = decay * w + (1.0 - decay) * 3.0 * w;
            assert!(
                (average - expected).abs() < 1e-6,
                "{updates}: {average}, {expected}"
            );
        }
    }
}
