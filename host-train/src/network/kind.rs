//! The network of a run, whichever it is.
//!
//! Everything about training is written for a [`Network`]: batches, gradients,
//! optimiser, average, checkpoints and previews. What is about chips takes the
//! [`UNet`] in it.

use burn::module::Module;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::{Bytes, Device, Tensor};

use crate::network::parameters::Parameter;
use crate::network::reference::ReferenceUNet;
use crate::network::taps::{NoTaps, Taps};
use crate::network::unet::UNet;
use crate::shape::Shape;

/// What predicts from noisy pictures.
pub trait Forward: std::fmt::Debug {
    /// The prediction for pictures `x` (`[n, pixels]`, row by row) at
    /// `timesteps`; class `None` is "no class". The reference network shows
    /// `taps` nothing.
    fn forward_with(
        &self,
        x: Tensor<2>,
        timesteps: &[u16],
        classes: &[Option<u8>],
        taps: &mut dyn Taps,
    ) -> Tensor<2>;

    /// The same unobserved.
    fn forward(&self, x: Tensor<2>, timesteps: &[u16], classes: &[Option<u8>]) -> Tensor<2> {
        self.forward_with(x, timesteps, classes, &mut NoTaps)
    }
}

impl Forward for UNet {
    fn forward_with(
        &self,
        x: Tensor<2>,
        timesteps: &[u16],
        classes: &[Option<u8>],
        taps: &mut dyn Taps,
    ) -> Tensor<2> {
        // The network's own, which goes before the trait's.
        Self::forward_with(self, x, timesteps, classes, taps)
    }
}

/// The network of a run.
#[expect(
    clippy::large_enum_variant,
    reason = "there are never many, and Burn derives nothing for a box"
)]
#[derive(Module, Debug)]
pub enum Network {
    /// The one that chips run.
    Small(UNet),
    /// The one of the course notes.
    Reference(ReferenceUNet),
}

impl From<UNet> for Network {
    fn from(model: UNet) -> Self {
        Self::Small(model)
    }
}

impl Forward for Network {
    fn forward_with(
        &self,
        x: Tensor<2>,
        timesteps: &[u16],
        classes: &[Option<u8>],
        taps: &mut dyn Taps,
    ) -> Tensor<2> {
        match self {
            Self::Small(model) => model.forward_with(x, timesteps, classes, taps),
            Self::Reference(model) => model.forward(x, timesteps, classes),
        }
    }
}

impl Network {
    /// A network with fresh parameters; the same ones for the same seed.
    ///
    /// # Panics
    /// Where `shape` does not pass [`Shape::validate`].
    pub fn new(shape: &Shape, seed: u64, device: &Device) -> Self {
        shape.validate().expect("a validated shape");
        match shape {
            Shape::Small(topology) => Self::Small(UNet::new(topology, seed, device)),
            Shape::Reference(shape) => Self::Reference(ReferenceUNet::new(shape, seed, device)),
        }
    }

    /// The network that chips run; `None` for the other.
    #[must_use]
    pub fn small(&self) -> Option<&UNet> {
        match self {
            Self::Small(model) => Some(model),
            Self::Reference(_) => None,
        }
    }

    /// Where its parameters are.
    pub fn device(&self) -> Device {
        match self {
            Self::Small(model) => model.conv_in.weight.val().device(),
            Self::Reference(model) => model.device(),
        }
    }

    /// All parameters, by name.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        match self {
            Self::Small(model) => model.parameters(),
            Self::Reference(model) => model.parameters(),
        }
    }

    /// The parameters as the bytes of a file: of the network inside, for files
    /// are older than the choice between two.
    pub(crate) fn into_bytes(self) -> Result<Bytes, RecordError> {
        match self {
            Self::Small(model) => model.into_record().into_bytes(),
            Self::Reference(model) => model.into_record().into_bytes(),
        }
    }

    /// The network with the parameters that [`into_bytes`](Self::into_bytes)
    /// wrote.
    pub(crate) fn with_bytes(self, bytes: Bytes) -> Result<Self, RecordError> {
        let record = ModuleRecord::from_bytes(bytes)?;
        match self {
            Self::Small(model) => model.try_load_record(record).map(Self::Small),
            Self::Reference(model) => model.try_load_record(record).map(Self::Reference),
        }
    }
}
