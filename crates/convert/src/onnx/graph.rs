//! A graph under construction: operations on named values.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor, Var};
use unet3p_core::graph::Conv;
use unet3p_core::ops::Window;

use super::proto::{Attribute, FLOAT, Graph, INT64, Node, TensorData};

/// A value of the graph: its name.
pub(super) type Name = String;

/// Nodes and constants, and the network's tensors that constants come from.
pub(super) struct Builder {
    tensors: HashMap<String, Var>,
    batch_norm_eps: f32,
    graph: Graph,
}

impl Builder {
    pub(super) fn new(tensors: HashMap<String, Var>, batch_norm_eps: f64) -> Self {
        Self { tensors, batch_norm_eps: batch_norm_eps as f32, graph: Graph::default() }
    }

    pub(super) fn finish(self) -> Graph {
        self.graph
    }

    /// An operation with one result, which gets the operation's name.
    pub(super) fn node(&mut self, op: &str, name: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Name {
        self.graph.node.push(Node {
            input: inputs.iter().map(|input| input.to_string()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute: attributes,
        });
        name.to_owned()
    }

    /// Convolution, and batch normalisation with the running statistics and ReLU where it has them.
    pub(super) fn layer(&mut self, name: &str, conv: &Conv, x: &str) -> Result<Name> {
        let mut inputs = vec![x.to_owned(), self.parameter(&format!("{name}.weight"))?];
        if conv.bias {
            inputs.push(self.parameter(&format!("{name}.bias"))?);
        }
        let window = Window { side: conv.kernel, stride: conv.stride, padding: conv.kernel / 2 };
        let mut y = self.node("Conv", name, &texts(&inputs), window_attributes(window));
        let mut relu = format!("{name}.relu");
        if let Some(name) = &conv.batch_norm {
            let mut inputs = vec![y];
            for leaf in ["weight", "bias", "running_mean", "running_var"] {
                inputs.push(self.parameter(&format!("{name}.{leaf}"))?);
            }
            let epsilon = float("epsilon", self.batch_norm_eps);
            y = self.node("BatchNormalization", name, &texts(&inputs), vec![epsilon]);
            relu = format!("{name}.relu");
        }
        Ok(if conv.relu { self.node("Relu", &relu, &[&y], Vec::new()) } else { y })
    }

    pub(super) fn max_pool(&mut self, name: &str, x: &str, window: Window) -> Name {
        self.node("MaxPool", name, &[x], window_attributes(window))
    }

    /// Bilinear upsampling, half-pixel centres, edges clamped.
    pub(super) fn upsample(&mut self, name: &str, x: &str, scale: usize) -> Name {
        let scales = format!("scale_{scale}");
        if !self.graph.initializer.iter().any(|tensor| tensor.name == scales) {
            let values = [1.0, 1.0, scale as f32, scale as f32];
            self.constant(&scales, &[4], FLOAT, values.iter().flat_map(|v| v.to_le_bytes()).collect());
        }
        let attributes = vec![text("coordinate_transformation_mode", "half_pixel"), text("mode", "linear")];
        // the second operand, a region of interest, is of another mode
        self.node("Resize", name, &[x, "", &scales], attributes)
    }

    /// A vector of whole numbers.
    pub(super) fn integers(&mut self, name: &str, values: &[i64]) -> Name {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, &[values.len()], INT64, bytes);
        name.to_owned()
    }

    /// One of the network's tensors.
    fn parameter(&mut self, name: &str) -> Result<Name> {
        let Some(tensor) = self.tensors.remove(name) else {
            candle_core::bail!("the network has no tensor {name}, or it is used twice");
        };
        let (dims, bytes) = (tensor.dims().to_vec(), little_endian(tensor.as_tensor())?);
        self.constant(name, &dims, FLOAT, bytes);
        Ok(name.to_owned())
    }

    fn constant(&mut self, name: &str, dims: &[usize], data_type: i32, raw_data: Vec<u8>) {
        let dims = dims.iter().map(|&side| side as i64).collect();
        self.graph.initializer.push(TensorData { dims, data_type, name: name.to_owned(), raw_data });
    }
}

fn texts(names: &[Name]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn little_endian(tensor: &Tensor) -> Result<Vec<u8>> {
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

fn window_attributes(Window { side, stride, padding }: Window) -> Vec<Attribute> {
    vec![
        integers("kernel_shape", &[side; 2]),
        integers("strides", &[stride; 2]),
        integers("pads", &[padding; 4]),
    ]
}

pub(super) fn integer(name: &str, value: i64) -> Attribute {
    Attribute { name: name.into(), i: value, r#type: Attribute::INT, ..Attribute::default() }
}

fn integers(name: &str, values: &[usize]) -> Attribute {
    let ints = values.iter().map(|&value| value as i64).collect();
    Attribute { name: name.into(), ints, r#type: Attribute::INTS, ..Attribute::default() }
}

fn float(name: &str, value: f32) -> Attribute {
    Attribute { name: name.into(), f: value, r#type: Attribute::FLOAT, ..Attribute::default() }
}

fn text(name: &str, value: &str) -> Attribute {
    let s = value.as_bytes().to_vec();
    Attribute { name: name.into(), s, r#type: Attribute::STRING, ..Attribute::default() }
}
