//! Quantisation-aware fine-tuning: the network is trained as the chip computes
//! it.
//!
//! Every activation is moved onto the grid of its 256 integers, and every
//! convolution multiplies with its rounded weights, both as `core` and
//! [`pack`](crate::quant::pack()) round them. Gradients pass straight through
//! the rounding, and stop where an activation is cut (Bengio et al. 2013,
//! arXiv:1308.3432). The grids are chosen once, from the network that the run
//! starts from, and kept in the run's folder: `export` writes the same.
//!
//! Left in floats are the embedding of time and class, which has 16 bits on the
//! chip, and what the softmax of an attention divides.

use std::collections::{BTreeMap, HashMap};
use std::f64::consts::LOG2_E;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use tiny_ddpm::Topology;
use tiny_ddpm::graph::LayerId;
use tiny_ddpm::kernels::attention::LOGIT_BITS;
use tiny_ddpm::kernels::norm::{OUTPUT_BITS, U_BITS, U_REACH};

use super::calibrate::{CalibrationSettings, calibrate};
use crate::config::Config;
use crate::network::layers::Conv;
use crate::network::taps::Taps;
use crate::network::unet::UNet;
use crate::output::Staged;
use crate::quant::{
    Grid, Origin, RangeRule, Ranges, RoundedConv, WeightBits, grids, rounded_convs, schemes,
};

/// In a run's folder: the ranges of its activations.
const RANGES: &str = "ranges.json";

/// What a network is rounded to.
#[derive(Clone, Debug)]
pub struct Qat {
    topology: Topology,
    ranges: Ranges,
    grids: BTreeMap<LayerId, Grid>,
    weight_bits: WeightBits,
}

impl Qat {
    /// Rounding by these ranges, with weights of so many bits.
    ///
    /// # Errors
    /// Where a range is missing or does not fit the topology.
    pub fn new(topology: &Topology, ranges: Ranges, weight_bits: WeightBits) -> Result<Self> {
        Ok(Self {
            grids: grids(topology, &ranges)?,
            topology: topology.clone(),
            ranges,
            weight_bits,
        })
    }

    /// Chooses ranges for a network as `export` does for a run trained without
    /// any; `progress` gets the number of steps made, of
    /// [`CalibrationSettings::of`]'s.
    ///
    /// # Errors
    /// Where the configuration does not fit the network.
    pub fn choose(
        model: &UNet,
        config: &Config,
        device: &Device,
        progress: impl FnMut(u16),
    ) -> Result<Ranges> {
        let settings = CalibrationSettings::of(config)?;
        let calibration = calibrate(model, config, &settings, device, progress)?;
        Ok(calibration.ranges(RangeRule::default(), &schemes(model.topology())))
    }

    /// Writes ranges into a run's folder.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn save(run: &Path, ranges: &Ranges) -> Result<()> {
        let mut staged = Staged::default();
        staged.add(run.join(RANGES), ranges.to_json()?.as_bytes())?;
        staged.publish()
    }

    /// What the run in a folder is rounded to; `None` where its configuration
    /// asks for no rounding.
    ///
    /// # Errors
    /// Where the ranges cannot be read or do not fit the network.
    pub fn load(run: &Path, config: &Config) -> Result<Option<Self>> {
        let Some(qat) = &config.training.qat else {
            return Ok(None);
        };
        let path = run.join(RANGES);
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read {}, without which a run with [training.qat] cannot be used",
                path.display()
            )
        })?;
        let topology = config.network.small()?;
        let load = || Self::new(topology, Ranges::from_json(&text)?, qat.weight_bits);
        load()
            .map(Some)
            .with_context(|| format!("in {}", path.display()))
    }

    /// The ranges of the activations.
    #[must_use]
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// Bits of a weight.
    #[must_use]
    pub fn weight_bits(&self) -> WeightBits {
        self.weight_bits
    }

    /// The grid of an activation; the prediction has none.
    #[must_use]
    pub fn grid(&self, layer: LayerId) -> Option<&Grid> {
        self.grids.get(&layer)
    }

    /// The network's convolutions, rounded: once for each step.
    ///
    /// # Errors
    /// Where the network is another one or a parameter is not finite.
    pub fn round(&self, model: &UNet) -> Result<Rounded<'_>> {
        let weights = model.weights();
        let convs = rounded_convs(&self.topology, &weights, &self.ranges, self.weight_bits)?;
        Ok(Rounded { qat: self, convs })
    }
}

/// What one step's networks are rounded to.
#[derive(Clone, Debug)]
pub struct Rounded<'a> {
    qat: &'a Qat,
    convs: BTreeMap<LayerId, RoundedConv>,
}

impl Rounded<'_> {
    /// Taps that round a network with the same parameters on `device`.
    #[must_use]
    pub fn taps(&self, device: &Device) -> FakeQuantiser<'_> {
        let grids = self.qat.grids.iter();
        FakeQuantiser {
            grids: grids
                .map(|(layer, grid)| (*layer, OnDevice::new(grid, device)))
                .collect(),
            convs: &self.convs,
            device: device.clone(),
        }
    }
}

/// A [`Grid`] as tensors, `[1, channels, 1, 1]`.
struct OnDevice {
    inverse: Tensor<4>,
    zeros: Tensor<4>,
    steps: Tensor<4>,
    origin: Origin,
}

impl OnDevice {
    fn new(grid: &Grid, device: &Device) -> Self {
        let row = |values: &[f32]| {
            let data = TensorData::new(values.to_vec(), [1, values.len(), 1, 1]);
            Tensor::from_data(data, device)
        };
        Self {
            inverse: row(&grid.inverse),
            zeros: row(&grid.zeros),
            steps: row(&grid.steps),
            origin: grid.origin,
        }
    }
}

/// The taps of quantisation-aware training: see the [module](self).
pub struct FakeQuantiser<'a> {
    grids: HashMap<LayerId, OnDevice>,
    convs: &'a BTreeMap<LayerId, RoundedConv>,
    device: Device,
}

impl fmt::Debug for FakeQuantiser<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeQuantiser")
    }
}

/// The same values, of which no gradient is wanted.
fn constant<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    x.clone().detach().set_require_grad(false)
}

/// The nearest integers, halves upwards.
fn round_up<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    (x + 0.5).floor()
}

impl Taps for FakeQuantiser<'_> {
    fn tap(&mut self, layer: LayerId, x: Tensor<4>) -> Tensor<4> {
        let Some(grid) = self.grids.get(&layer) else {
            return x;
        };
        let exact = constant(&x);
        let q = match grid.origin {
            Origin::Sum => round_up(exact.clone() * grid.inverse.clone() + grid.zeros.clone()),
            Origin::Norm => {
                let ticks = f64::from(1u32 << OUTPUT_BITS);
                let ticked = round_up(exact.clone() * ticks) / ticks;
                round_up(ticked * grid.inverse.clone() + grid.zeros.clone())
            }
            Origin::Pixels => {
                let steps = exact.clone() * grid.inverse.clone();
                (steps.clone().abs() + 0.5).floor() * steps.sign() + grid.zeros.clone()
            }
        };
        let kept = q.clone().clamp(-128.0, 127.0);
        let cut = kept.clone().not_equal(q);
        let value = (kept - grid.zeros.clone()) * grid.steps.clone();
        (x + (value.clone() - exact)).mask_where(cut, value)
    }

    fn conv(&mut self, layers: &[LayerId], conv: &Conv, x: Tensor<4>) -> Tensor<4> {
        let rounded = layers.iter().map(|layer| self.convs.get(layer));
        let Some(rounded) = rounded.collect::<Option<Vec<_>>>() else {
            return conv.forward(x);
        };
        let joined = |part: fn(&RoundedConv) -> &[f32]| -> Vec<f32> {
            rounded
                .iter()
                .flat_map(|conv| part(conv))
                .copied()
                .collect()
        };
        let (weight, bias) = (conv.weight.val(), conv.bias.val());
        let tensor = TensorData::new(joined(|conv| &conv.weight), weight.dims());
        let moved = Tensor::from_data(tensor, &self.device) - constant(&weight);
        let tensor = TensorData::new(joined(|conv| &conv.bias), bias.dims());
        let shifted = Tensor::from_data(tensor, &self.device) - constant(&bias);
        conv.forward_with(x, weight + moved, bias + shifted)
    }

    fn shift(&mut self, layer: LayerId, shift: Tensor<2>) -> Tensor<2> {
        let Some(rounded) = self.convs.get(&layer) else {
            return shift;
        };
        let units = TensorData::new(rounded.units.clone(), [1, rounded.units.len()]);
        let units = Tensor::from_data(units, &self.device);
        let exact = constant(&shift);
        let value = round_up(exact.clone() / units.clone()) * units;
        shift + (value - exact)
    }

    fn normal(&mut self, u: Tensor<4>) -> Tensor<4> {
        let exact = constant(&u);
        let ticks = f64::from(1u32 << U_BITS);
        let value = round_up(exact.clone() * ticks) / ticks;
        let reach = f64::from(U_REACH);
        let kept = value.clone().clamp(-reach, reach - 1.0 / ticks);
        let cut = kept.clone().not_equal(value);
        (u + (kept.clone() - exact)).mask_where(cut, kept)
    }

    fn logits(&mut self, logits: Tensor<4>) -> Tensor<4> {
        let exact = constant(&logits);
        let ticks = f64::from(1u32 << LOGIT_BITS) * LOG2_E;
        let value = round_up(exact.clone() * ticks) / ticks;
        logits + (value - exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tiny_ddpm::graph::{Part, Stage};

    const CONV_IN: LayerId = LayerId::new(Stage::ConvIn, Part::Whole);

    fn quantiser(convs: &BTreeMap<LayerId, RoundedConv>) -> FakeQuantiser<'_> {
        let device = Device::flex().autodiff();
        let grid = Grid {
            steps: vec![0.5, 0.25],
            inverse: vec![2.0, 4.0],
            zeros: vec![-128.0, 100.0],
            origin: Origin::Sum,
        };
        FakeQuantiser {
            grids: [(CONV_IN, OnDevice::new(&grid, &device))].into(),
            convs,
            device,
        }
    }

    #[test]
    fn gradients_pass_the_rounding_and_stop_where_it_cuts() {
        let none = BTreeMap::new();
        let mut quantiser = quantiser(&none);
        // The channels reach from 0 to 127.5 and from -57 to 6.75.
        let values = [
            [[[0.3, -0.3], [0.25, 127.9]]],
            [[[6.8, 6.9], [-57.3, -0.125]]],
        ];
        let x = Tensor::<4>::from_floats(values, &quantiser.device);
        let x = x.reshape([1, 2, 2, 2]).require_grad();
        let y = quantiser.tap(CONV_IN, x.clone());
        let gradients = (y.clone() * 3.0).sum().backward();
        let y: Vec<f32> = y.into_data().try_to_vec().unwrap();
        assert_eq!(y, [0.5, 0.0, 0.5, 127.5, 6.75, 6.75, -57.0, 0.0]);
        let gradient = x.grad(&gradients).unwrap().into_data();
        let gradient: Vec<f32> = gradient.try_to_vec().unwrap();
        assert_eq!(gradient, [3.0, 0.0, 3.0, 0.0, 3.0, 0.0, 0.0, 3.0]);

        // What has no grid stays as it is.
        let other = quantiser.tap(LayerId::new(Stage::Output, Part::Conv), x.clone());
        assert_eq!(other.into_data(), x.into_data());
    }

    #[test]
    fn weights_get_the_gradients_of_their_rounded_twins() {
        let config = Config::preset("smoke").unwrap();
        let device = Device::flex().autodiff();
        let model = UNet::new(config.network.small().unwrap(), 1, &device);
        let conv = model.conv(CONV_IN).unwrap();
        let count = conv.weight.val().dims().iter().product();
        let rounded = RoundedConv {
            weight: vec![0.5; count],
            bias: vec![-0.25; 8],
            units: vec![0.1; 8],
        };
        let convs = BTreeMap::from([(CONV_IN, rounded)]);
        let mut quantiser = quantiser(&convs);
        let x = Tensor::<4>::ones([1, 16, 1, 1], &device);
        let y = quantiser.conv(&[CONV_IN], conv, x);
        let values: Vec<f32> = y.clone().into_data().try_to_vec().unwrap();
        // Only the kernel's centre meets the one position.
        for value in values {
            assert!((value - (16.0 * 0.5 - 0.25)).abs() < 1e-5, "{value}");
        }
        let gradients = y.sum().backward();
        let gradient = conv.weight.val().grad(&gradients).unwrap();
        let gradient: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
        for (i, value) in gradient.into_iter().enumerate() {
            assert_eq!(value, if i % 9 == 4 { 1.0 } else { 0.0 });
        }
        let bias = conv.bias.val().grad(&gradients).unwrap();
        assert_eq!(bias.into_data().try_to_vec::<f32>().unwrap(), [1.0; 8]);
    }
}
