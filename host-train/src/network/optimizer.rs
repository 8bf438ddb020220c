//! Burn's AdamW over the whole network, with a state that can be saved.
//!
//! `ModuleOptimizer` would do, but it loads its state onto the process's
//! default device: with a GPU backend built in, a run on the CPU could not be
//! resumed on a machine without a GPU.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{
    AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, GradientsParams, Optimizer as _,
};
use burn::tensor::Tensor;
use burn::tensor::container::TensorContainer;

/// AdamW with ε = 1e-8.
pub struct Optimizer {
    adamw: AdamW,
    /// An `AdamWState` for each parameter, once it was updated.
    states: TensorContainer<ParamId>,
    /// Updates so far.
    updates: u32,
}

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Optimizer after {} updates", self.updates)
    }
}

impl Optimizer {
    /// An optimiser that has seen nothing yet, with β1 = 0.9 and β2 = 0.999.
    #[must_use]
    pub fn new(weight_decay: f64) -> Self {
        Self::with_betas(weight_decay, 0.9, 0.999)
    }

    /// The same with other decays of the two moments.
    #[must_use]
    pub fn with_betas(weight_decay: f64, beta_1: f32, beta_2: f32) -> Self {
        Self {
            adamw: AdamWConfig::new()
                .with_beta_1(beta_1)
                .with_beta_2(beta_2)
                .with_epsilon(1e-8)
                .with_weight_decay(weight_decay as f32)
                .build(),
            states: TensorContainer::new(),
            updates: 0,
        }
    }

    /// One update.
    #[must_use]
    pub fn step<M: Module>(
        &mut self,
        learning_rate: f64,
        model: M,
        gradients: GradientsParams,
    ) -> M {
        self.updates += 1;
        model.map(&mut Step {
            optimizer: self,
            learning_rate,
            gradients,
        })
    }

    /// The first and second moments, as networks with them for parameters:
    /// zeros before the first update.
    #[must_use]
    pub fn moments<M: Module>(&self, model: &M) -> [M; 2] {
        [0, 1].map(|which| {
            model.valid().map(&mut Moments {
                states: &self.states,
                which,
            })
        })
    }

    /// The optimiser after `updates` updates that gave these
    /// [`moments`](Self::moments). Loading a network from a record keeps the
    /// parameters' identities, by which model and moments find each other.
    #[must_use]
    pub fn with_moments<M: Module>(mut self, moments: &[M; 2], updates: u32) -> Self {
        self.updates = updates;
        if updates > 0 {
            let mut first = Collect(TensorContainer::new());
            moments[0].visit(&mut first);
            moments[1].visit(&mut Restore {
                first: first.0,
                optimizer: &mut self,
            });
        }
        self
    }
}

struct Step<'a> {
    optimizer: &'a mut Optimizer,
    learning_rate: f64,
    gradients: GradientsParams,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let Some(gradient) = self.gradients.remove::<D>(id) else {
            return param;
        };
        let Optimizer { adamw, states, .. } = &mut *self.optimizer;
        let state = states.remove::<AdamWState<D>>(&id);
        param.map(|value| {
            let (value, state) = adamw.step(self.learning_rate, value.inner(), gradient, state);
            if let Some(state) = state {
                states.register(id, state);
            }
            Tensor::from_inner(value).require_grad()
        })
    }
}

struct Moments<'a> {
    states: &'a TensorContainer<ParamId>,
    which: usize,
}

impl ModuleMapper for Moments<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let state = self.states.get::<AdamWState<D>>(&param.id);
        param.map(|value| match (state, self.which) {
            (Some(state), 0) => state.momentum.moment_1,
            (Some(state), _) => state.momentum.moment_2,
            (None, _) => value.zeros_like(),
        })
    }
}

struct Restore<'a> {
    first: TensorContainer<ParamId>,
    optimizer: &'a mut Optimizer,
}

impl ModuleVisitor for Restore<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(first) = self.first.remove::<Tensor<D>>(&param.id) {
            let time = self.optimizer.updates as usize;
            let momentum = AdaptiveMomentumState::new(time, first, param.val());
            let state = AdamWState::new(momentum);
            self.optimizer.states.register(param.id, state);
        }
    }
}

/// The parameters of a network by their identity.
pub(crate) struct Collect(pub TensorContainer<ParamId>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val());
    }
}
