//! Weights as bytes: a fixed [`header`], then a postcard body.
//!
//! [`Model::load`](crate::Model::load) borrows everything from the bytes,
//! copies nothing, and accepts only what the forward pass can run: any other
//! bytes give a [`BlobError`] that says what is wrong and where. It never panics
//! and its time is proportional to the blob's length.

pub(crate) mod checksum;
pub(crate) mod contents;
mod error;
pub mod header;
mod include;
pub mod records;
mod validate;
mod writer;

pub use error::{BlobError, ParamError};
pub use header::{HEADER_LEN, VERSION, encoded_len};
pub use writer::{WriteError, Writer};
