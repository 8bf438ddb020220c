//! Few-step distillation: trains a student that generates a picture in one, two
//! or four network evaluations.
//!
//! Distribution matching distillation (DMD: Yin et al. 2024, arXiv:2311.18828;
//! DMD2, with several steps and a discriminator: arXiv:2405.14867). Three
//! networks help the student; all start from the teacher's weights:
//!
//! - the **teacher** (the papers' real score) is never updated;
//! - the **fake score** learns to denoise the student's current pictures;
//! - the **discriminator** separates the student's pictures from real ones, both
//!   noised (diffusion GAN: Xiao et al. 2022, arXiv:2112.07804).
//!
//! A generated picture is noised again, and both scores predict x̂_0 from it.
//! The difference of the two predictions points towards pictures that the
//! student generates too often; it is the student's gradient.
//!
//! One [`step`](FewStep::step) makes [`CRITIC_UPDATES`] updates of the fake score
//! and the discriminator, then computes the gradients for one update of the
//! student.

mod best;
mod critics;
mod discriminator;
mod distance;
mod distillation;
mod draw;
mod files;
mod losses;
mod student;

pub use critics::CriticLosses;
pub use distillation::{CRITIC_UPDATES, FewStep, optimizer};
pub use files::{CRITICS, DISTANCES};
