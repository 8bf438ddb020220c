//! Float parameters by name.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

/// Parameters by layer name and kind, such as `down0.0.conv1.weight`, each row
/// by row: `[out, in, kh, kw]` for convolutions, `[out, in]` for fully
/// connected layers.
#[derive(Clone, Debug, Default)]
pub struct Weights(BTreeMap<String, Vec<f32>>);

impl FromIterator<(String, Vec<f32>)> for Weights {
    fn from_iter<I: IntoIterator<Item = (String, Vec<f32>)>>(parameters: I) -> Self {
        Self(parameters.into_iter().collect())
    }
}

impl Weights {
    /// Sets the last `count` values of the parameter called `name` to 0.
    ///
    /// # Errors
    /// Where there is no such parameter.
    pub fn zero_last(&mut self, name: &str, count: usize) -> Result<()> {
        let values = self.0.get_mut(name);
        let values = values.with_context(|| format!("the network has no {name}"))?;
        values.iter_mut().rev().take(count).for_each(|v| *v = 0.0);
        Ok(())
    }

    /// The parameter called `name`, which must have `count` finite values.
    ///
    /// # Errors
    /// Where it is missing, has another size, or a value is NaN or infinite.
    pub fn get(&self, name: &str, count: usize) -> Result<&[f32]> {
        let values = self
            .0
            .get(name)
            .with_context(|| format!("the network has no parameter {name}"))?;
        ensure!(
            values.len() == count,
            "{name} has {} values where the topology asks for {count}",
            values.len()
        );
        ensure!(
            values.iter().all(|v| v.is_finite()),
            "{name} holds a value that is not finite: the training run diverged"
        );
        Ok(values)
    }
}
