//! Points of a model in integers.

use std::ops::ControlFlow;

use rayon::prelude::*;
use tiny_ddpm::Model;

use super::pictures::{Progress, SampleError, Worker};
use super::request::Request;
use crate::points::Points;

/// Generates points on rayon's threads; as
/// [`generate`](super::generate()) does pictures.
///
/// # Errors
/// Where the request does not fit the model, or `watch` breaks off.
pub fn generate_points(
    model: &Model<'_>,
    request: &Request,
    watch: impl Fn(Progress<'_>) -> ControlFlow<()> + Sync,
) -> Result<Points, SampleError> {
    request.validate(model)?;
    let values = model.topology().pixels();
    let mut x = vec![0.0; request.count * values];
    x.par_chunks_exact_mut(values)
        .enumerate()
        .try_for_each_init(
            || Worker::new(model),
            |worker, (index, out)| {
                out.copy_from_slice(worker.generate(model, request, index, &watch)?);
                Ok::<(), SampleError>(())
            },
        )?;
    Ok(Points { values, x })
}
