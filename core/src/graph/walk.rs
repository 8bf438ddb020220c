//! The architectures by number.

use super::op::Interpreter;
use super::topology::Topology;
use super::unet;

/// Runs the network of `topology` in the meaning that `net` gives it.
///
/// # Errors
/// The first error of an operation.
pub fn walk<I: Interpreter>(net: &mut I, topology: &Topology) -> Result<(), I::Error> {
    unet::walk(net, topology)
}
