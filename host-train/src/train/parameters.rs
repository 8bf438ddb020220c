//! The parameters by name, without Burn's types: what the exporter reads.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use super::layers::{Conv, GroupNorm, Linear};
use super::unet::{Attention, Block, ResBlock};
use super::{ReferenceUNet, UNet};

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
    /// All parameters, in the order in which the network uses them.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut list = List(Vec::new());
        list.linear("time.linear1", &self.time.linear1);
        list.linear("time.linear2", &self.time.linear2);
        list.push("time.classes.weight", self.time.classes.val());
        list.conv("conv_in", &self.conv_in);
        for (level, stage) in self.down.iter().enumerate() {
            list.blocks(&format!("down{level}"), &stage.blocks);
            if let Some(conv) = &stage.resample {
                list.conv(&format!("downsample{level}.conv"), conv);
            }
        }
        list.res("mid0", &self.mid0);
        if let Some(attn) = &self.mid_attn {
            list.attention("mid.attn", attn);
        }
        list.res("mid1", &self.mid1);
        for (level, stage) in self.up.iter().enumerate().rev() {
            list.blocks(&format!("up{level}"), &stage.blocks);
            if let Some(conv) = &stage.resample {
                list.conv(&format!("upsample{level}.conv"), conv);
            }
        }
        list.norm("out.norm", &self.out_norm);
        list.conv("out.conv", &self.out_conv);
        list.0
    }
}

impl ReferenceUNet {
    /// All parameters, called as the fields that hold them and shaped as they
    /// hold them (`down.0.layers.1.res.conv1.weight`).
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut fields = Fields {
            path: Vec::new(),
            list: List(Vec::new()),
        };
        self.visit(&mut fields);
        fields.list.0
    }
}

/// Names parameters after the fields on the way to them.
struct Fields {
    path: Vec<String>,
    list: List,
}

impl ModuleVisitor for Fields {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.list.push(&self.path.join("."), param.val());
    }
}

struct List(Vec<Parameter>);

impl List {
    fn push<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) {
        self.0.push(Parameter {
            name: name.to_owned(),
            shape: tensor.dims().to_vec(),
            values: tensor.into_data().try_to_vec().expect("parameters are f32"),
        });
    }

    fn param<const D: usize>(&mut self, layer: &str, kind: &str, param: &Param<Tensor<D>>) {
        self.push(&format!("{layer}.{kind}"), param.val());
    }

    fn linear(&mut self, name: &str, layer: &Linear) {
        self.push(&format!("{name}.weight"), layer.weight.val().transpose());
        self.param(name, "bias", &layer.bias);
    }

    fn conv(&mut self, name: &str, layer: &Conv) {
        self.param(name, "weight", &layer.weight);
        self.param(name, "bias", &layer.bias);
    }

    fn norm(&mut self, name: &str, layer: &GroupNorm) {
        self.param(name, "gain", &layer.gain);
        self.param(name, "offset", &layer.offset);
    }

    fn res(&mut self, name: &str, block: &ResBlock) {
        self.norm(&format!("{name}.norm1"), &block.norm1);
        self.conv(&format!("{name}.conv1"), &block.conv1);
        self.linear(&format!("{name}.emb"), &block.emb);
        self.norm(&format!("{name}.norm2"), &block.norm2);
        if let Some(shortcut) = &block.shortcut {
            self.conv(&format!("{name}.shortcut"), shortcut);
        }
        self.conv(&format!("{name}.conv2"), &block.conv2);
    }

    fn attention(&mut self, name: &str, block: &Attention) {
        self.norm(&format!("{name}.norm"), &block.norm);
        self.conv(&format!("{name}.qkv"), &block.qkv);
        self.conv(&format!("{name}.proj"), &block.proj);
    }

    fn blocks(&mut self, stage: &str, blocks: &[Block]) {
        for (b, block) in blocks.iter().enumerate() {
            let name = format!("{stage}.{b}");
            self.res(&name, &block.res);
            if let Some(attn) = &block.attn {
                self.attention(&format!("{name}.attn"), attn);
            }
        }
    }
}
