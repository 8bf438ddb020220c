//! Float parameters by layer.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use tiny_ddpm::graph::LayerId;

/// A layer's parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `[out, in, kh, kw]` for convolutions, `[out, in]` for fully connected
    /// layers, `[rows, width]` for tables.
    Weight,
    /// `[out]`.
    Bias,
    /// A normalisation's factor, `[channels]`.
    Gain,
    /// What a normalisation adds, `[channels]`.
    Offset,
}

/// Names a parameter; prints as, say, `down0.0.conv1.weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParameterId {
    /// Whose it is.
    pub layer: LayerId,
    /// Which of that layer's.
    pub kind: Kind,
}

impl fmt::Display for ParameterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Weight => "weight",
            Kind::Bias => "bias",
            Kind::Gain => "gain",
            Kind::Offset => "offset",
        };
        write!(f, "{}.{kind}", self.layer)
    }
}

/// Parameters, each row by row.
#[derive(Clone, Debug, Default)]
pub struct Weights(BTreeMap<ParameterId, Vec<f32>>);

impl FromIterator<(ParameterId, Vec<f32>)> for Weights {
    fn from_iter<I: IntoIterator<Item = (ParameterId, Vec<f32>)>>(parameters: I) -> Self {
        Self(parameters.into_iter().collect())
    }
}

impl Weights {
    /// Sets the last `count` values of a layer's parameter to 0.
    ///
    /// # Errors
    /// Where there is no such parameter.
    pub fn zero_last(&mut self, layer: LayerId, kind: Kind, count: usize) -> Result<()> {
        let id = ParameterId { layer, kind };
        let values = self.0.get_mut(&id);
        let values = values.with_context(|| format!("the network has no parameter {id}"))?;
        values.iter_mut().rev().take(count).for_each(|v| *v = 0.0);
        Ok(())
    }

    /// A layer's parameter, which must have `count` finite values.
    ///
    /// # Errors
    /// Where it is missing, has another size, or a value is NaN or infinite.
    pub fn get(&self, layer: LayerId, kind: Kind, count: usize) -> Result<&[f32]> {
        let id = ParameterId { layer, kind };
        let values = self.0.get(&id);
        let values = values.with_context(|| format!("the network has no parameter {id}"))?;
        ensure!(
            values.len() == count,
            "{id} has {} values where the topology asks for {count}",
            values.len()
        );
        ensure!(
            values.iter().all(|v| v.is_finite()),
            "{id} holds a value that is not finite: the training run diverged"
        );
        Ok(values)
    }
}
