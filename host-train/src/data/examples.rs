//! What a network can be trained on: pictures or points.

use super::{Dataset, to_unit};

/// Examples, each of them values about -1 to 1, and a class.
pub trait Examples: std::fmt::Debug + Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// Shows the values of x_0 of one example, one after the other.
    fn each_value(&self, index: usize, show: &mut dyn FnMut(f32));

    /// The class of an example; 0 where it has none.
    fn class(&self, index: usize) -> u8;

    /// All of them as pictures, where they are.
    fn pictures(&self) -> Option<&Dataset> {
        None
    }

    /// A hash over all of it, in hexadecimal: tells one data set from another.
    fn fingerprint(&self) -> String;
}

impl Examples for Dataset {
    fn count(&self) -> usize {
        self.len()
    }

    fn each_value(&self, index: usize, show: &mut dyn FnMut(f32)) {
        self.picture(index)
            .iter()
            .for_each(|&pixel| show(to_unit(pixel)));
    }

    fn class(&self, index: usize) -> u8 {
        self.labels[index]
    }

    fn pictures(&self) -> Option<&Dataset> {
        Some(self)
    }

    fn fingerprint(&self) -> String {
        self.fingerprint()
    }
}
