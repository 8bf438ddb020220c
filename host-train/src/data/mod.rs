//! Training pictures: grey squares, with a class each or without, from IDX files
//! or from a folder of PNGs, JPEGs and WebPs.

#[cfg(feature = "train")]
mod args;
mod dataset;
#[cfg(feature = "train")]
mod download;
mod examples;
mod files;
mod folder;
mod idx_set;
mod known;
mod layout;
mod names;
mod notice;
mod picture;
pub mod swiss_roll;

#[cfg(feature = "train")]
pub use args::DataArgs;
pub use dataset::{Dataset, Split, to_unit};
#[cfg(feature = "train")]
pub use download::{default_cache, fetch};
pub use examples::Examples;
pub use folder::Folder;
pub use idx_set::IdxSet;
pub use known::{KNOWN, Known, Origin};
pub use layout::Layout;
pub use picture::Square;

pub use crate::idx::{read_images, read_labels};
