//! Where tensors are computed, chosen on the command line.

use anyhow::{Result, bail};
use burn::tensor::Device;

use crate::build;

/// The backends that this tool can be built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// The CPU, in pure Rust: the default.
    Flex,
    /// The CPU by other code: slow, an independent reference.
    Ndarray,
    /// A GPU by Vulkan, Metal or DirectX.
    Wgpu,
}

impl Backend {
    /// The device, without gradients.
    ///
    /// # Errors
    /// Where the tool was built without the backend, or there is no such
    /// device.
    pub fn device(self) -> Result<Device> {
        match self {
            Self::Flex => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[expect(deprecated, reason = "wanted for its independence of flex")]
            Self::Ndarray => Ok(Device::ndarray()),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => wgpu(),
            #[allow(unreachable_patterns, reason = "all backends may be built in")]
            missing => {
                let name = missing.name();
                bail!(build::lacks(&format!("the {name} backend"), name))
            }
        }
    }

    /// Its name on the command line; but for flex, also the cargo feature's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Flex => "flex",
            Self::Ndarray => "ndarray",
            Self::Wgpu => "wgpu",
        }
    }
}

/// Burn panics where no adapter is found, which is no message for a user.
#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Device> {
    use burn::tensor::{DeviceKind, Tensor};
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = std::panic::catch_unwind(|| {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        let one = Tensor::<1>::ones([1], &device).into_scalar::<f32>();
        (one == 1.0).then_some(device)
    });
    std::panic::set_hook(quiet);
    match found {
        Ok(Some(device)) => Ok(device),
        _ => bail!(
            "no usable GPU was found through wgpu; install a Vulkan driver (mesa-vulkan-drivers has one in software) or use --backend flex"
        ),
    }
}
