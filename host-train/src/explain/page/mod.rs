//! The pages: one file each, with its pictures and curves inside, in the order
//! in which a picture or a cloud of points goes into the noise and comes back.
//!
//! Functions of `core` are named through a macro that the compiler checks, so
//! that a page cannot send a reader to one that is no longer there.

mod chapters;
mod glossary;
mod html;
mod pictures;
mod points;
mod samplers;

use tiny_ddpm::blob::records::Info;

pub use pictures::page as of_picture;
pub use points::page as of_points;

/// What the page says of the model and the picture.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The model's file.
    pub path: String,
    /// Of that file.
    pub sha256: String,
    /// What is in it.
    pub info: Info<'a>,
    /// What x_0 is, and where it comes from.
    pub x_0: String,
    /// The class that the network is told.
    pub class: Option<u8>,
    /// Seed of all noise.
    pub seed: u64,
    /// Classifier-free guidance of the ways back.
    pub guidance: f32,
}
