//! From noise to a picture, one step at a time.
//!
//! A [`Sampler`] owns no memory and knows nothing of networks: the caller
//! lends it its buffers and hands it a [`Denoiser`](crate::Denoiser) at every step. Between
//! steps the caller may draw x_t, feed a watchdog or stop for good. An
//! [`InPlaceSampler`] makes the same pictures in one buffer, with a denoiser
//! that can do that ([`InPlace`](crate::InPlace)).
//!
//! Every method is one short file that reads like its equation.

mod buffered;
mod consistency;
mod ddim;
mod ddpm;
mod dpm_solver;
mod euler_maruyama;
mod heun;
mod in_place;
mod log_snr;
mod method;
mod settings;
mod spacing;
mod trajectory;
mod unipc;

pub use buffered::{Buffers, Sampler};
pub use ddpm::Variance;
pub use in_place::InPlaceSampler;
pub use method::Method;
pub use settings::{Settings, SettingsError};
pub use spacing::{Spacing, respaced, timesteps};
pub use trajectory::Step;
pub use unipc::SolverOrder;
