//! The parameters by name, without Burn's types: what the exporter reads.

use std::convert::Infallible;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use tiny_ddpm::graph::{Attention, Conv, Interpreter, LayerId, Linear, Norm, Shape, Table, walk};

use crate::network::interpreter::SAME;
use crate::network::reference::ReferenceUNet;
use crate::network::unet::{QKV, UNet};
use crate::quant::{Kind, ParameterId, Weights};

/// One tensor of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The layer's name and `.weight`, `.bias`, `.gain` or `.offset`;
    /// `time.classes.weight` is the class table of the small network, `classes`
    /// that of the reference network.
    pub name: String,
    /// `[out, in, kh, kw]` for convolutions, `[out, in]` for fully connected
    /// layers (`[in, out]` in the reference network), `[classes + 1,
    /// embedding]` for the class table, `[n]` for the rest.
    pub shape: Vec<usize>,
    /// Row by row.
    pub values: Vec<f32>,
}

impl UNet {
    /// All parameters, in the order in which the network uses them. Queries,
    /// keys and values have their own.
    fn each_parameter(&self) -> Vec<(ParameterId, Vec<usize>, Vec<f32>)> {
        let mut reader = Reader {
            net: self,
            found: Vec::new(),
        };
        match walk(&mut reader, self.topology()) {
            Ok(()) => reader.found,
        }
    }

    /// All parameters, in the order in which the network uses them.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let parameter = |(id, shape, values): (ParameterId, _, _)| Parameter {
            name: id.to_string(),
            shape,
            values,
        };
        self.each_parameter().into_iter().map(parameter).collect()
    }

    /// The same for quantisation.
    #[must_use]
    pub fn weights(&self) -> Weights {
        let parameters = self.each_parameter().into_iter();
        parameters.map(|(id, _, values)| (id, values)).collect()
    }
}

/// Reads the parameters of each layer.
struct Reader<'n> {
    net: &'n UNet,
    found: Vec<(ParameterId, Vec<usize>, Vec<f32>)>,
}

impl Reader<'_> {
    fn push<const D: usize>(&mut self, layer: LayerId, kind: Kind, tensor: Tensor<D>) {
        let (shape, values) = read(tensor);
        self.found
            .push((ParameterId { layer, kind }, shape, values));
    }

    /// A part of the output channels.
    fn rows<const D: usize>(&mut self, layer: LayerId, kind: Kind, tensor: Tensor<D>) {
        let tensor = match QKV.iter().position(|part| *part == layer.part) {
            Some(part) => {
                let rows = tensor.dims()[0] / QKV.len();
                tensor.narrow(0, part * rows, rows)
            }
            None => tensor,
        };
        self.push(layer, kind, tensor);
    }

    fn read_conv(&mut self, conv: &Conv<()>) -> Result<(), Infallible> {
        let found = self.net.conv(conv.id).expect(SAME);
        self.rows(conv.id, Kind::Weight, found.weight.val());
        self.rows(conv.id, Kind::Bias, found.bias.val());
        Ok(())
    }
}

impl Interpreter for Reader<'_> {
    type Data = ();
    type Error = Infallible;

    fn timestep(&mut self, _: usize) -> Result<(), Infallible> {
        Ok(())
    }

    fn linear(&mut self, linear: &Linear) -> Result<(), Infallible> {
        let found = self.net.linear(linear.id).expect(SAME);
        self.push(linear.id, Kind::Weight, found.weight.val().transpose());
        self.push(linear.id, Kind::Bias, found.bias.val());
        Ok(())
    }

    fn classes(&mut self, table: &Table) -> Result<(), Infallible> {
        self.push(table.id, Kind::Weight, self.net.time.classes.val());
        Ok(())
    }

    fn input(&mut self, _: Shape) -> Result<(), Infallible> {
        Ok(())
    }

    fn norm(&mut self, norm: &Norm<()>) -> Result<(), Infallible> {
        let found = self.net.norm(norm.id).expect(SAME);
        self.push(norm.id, Kind::Gain, found.gain.val());
        self.push(norm.id, Kind::Offset, found.offset.val());
        Ok(())
    }

    fn conv(&mut self, conv: &Conv<()>) -> Result<(), Infallible> {
        self.read_conv(conv)
    }

    fn attention(&mut self, _: &Attention<()>) -> Result<(), Infallible> {
        Ok(())
    }

    fn output(&mut self, conv: &Conv<()>) -> Result<(), Infallible> {
        self.read_conv(conv)
    }

    fn release(&mut self, (): ()) {}
}

/// A tensor's shape and values, row by row.
fn read<const D: usize>(tensor: Tensor<D>) -> (Vec<usize>, Vec<f32>) {
    let shape = tensor.dims().to_vec();
    (
        shape,
        tensor.into_data().try_to_vec().expect("parameters are f32"),
    )
}

impl ReferenceUNet {
    /// All parameters, called as the fields that hold them and shaped as they
    /// hold them (`down.0.layers.1.res.conv1.weight`).
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut fields = Fields {
            path: Vec::new(),
            list: Vec::new(),
        };
        self.visit(&mut fields);
        fields.list
    }
}

/// Names parameters after the fields on the way to them.
struct Fields {
    path: Vec<String>,
    list: Vec<Parameter>,
}

impl ModuleVisitor for Fields {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (shape, values) = read(param.val());
        self.list.push(Parameter {
            name: self.path.join("."),
            shape,
            values,
        });
    }
}
