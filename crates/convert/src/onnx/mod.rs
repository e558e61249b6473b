//! Networks as ONNX files, for the runtimes that read them.
//!
//! The graph takes `image`, f32 `[batch, channels, height, width]`, preprocessed, with sides that are multiples of
//! [`unet3p_models::UNet3PlusConfig::size_multiple`], and gives `probabilities`, those of head 1, first. Everything is in standard
//! operators of the default domain; the configuration travels as metadata.

mod graph;
mod network;
pub mod proto;

use prost::Message;
use unet3p_models::UNet3Plus;

use graph::Builder;
use proto::{Dimension, Entry, FLOAT, Model, OperatorSet, Shape, Side, TensorType, Type, Value};

/// The name of the image that the graph takes, as in [`unet3p_models::Architecture`].
const INPUT: &str = "image";

/// How [`export`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnnxOptions {
    /// The version of the operators, one of [`OnnxOptions::OPSETS`]; default 18.
    pub opset: u8,
    /// Height and width of the image, with a batch of one; `None` (default) for any batch, height and width.
    pub size: Option<[usize; 2]>,
    /// Whether all heads of deep supervision are given, `probabilities_2` to `probabilities_5` behind head 1's; default
    /// no.
    pub all_heads: bool,
    /// Whether logits are given, without activation and without the gate, in place of probabilities; default no.
    pub logits: bool,
}

impl OnnxOptions {
    /// The versions of the operators that can be asked for: what the graph consists of means the same in all of them.
    pub const OPSETS: std::ops::RangeInclusive<u8> = 13..=22;
}

impl Default for OnnxOptions {
    fn default() -> Self {
        Self { opset: 18, size: None, all_heads: false, logits: false }
    }
}

/// Why a network cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// An operator version that is not one of [`OnnxOptions::OPSETS`].
    #[error("opset {opset}: use {} to {}", OnnxOptions::OPSETS.start(), OnnxOptions::OPSETS.end())]
    Opset {
        /// The version.
        opset: u8,
    },
    /// A size that the network would pad, which a graph cannot.
    #[error("an image of {}x{}: sides of an exported network's image are multiples of {multiple}", size[0], size[1])]
    Size {
        /// Height and width.
        size: [usize; 2],
        /// What they are to be multiples of.
        multiple: usize,
    },
    /// A weight is NaN or infinite.
    #[error(transparent)]
    Weights(#[from] unet3p_models::Error),
    /// The weights cannot be read from their device.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// The network as the bytes of an ONNX file, with running statistics, as in a prediction. `metadata` goes in beside the
/// configuration, which is under `config`.
///
/// # Errors
/// [`OnnxError`] for an unknown operator version, a size that is not a multiple of the network's, or a weight that is NaN
/// or infinite.
///
/// ```
/// use candle_core::{DType, Device};
/// use unet3p_convert::onnx::{OnnxOptions, export};
/// use unet3p_models::{UNet3Plus, UNet3PlusConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = UNet3PlusConfig::builder().base_filters(4).build()?;
/// let model = UNet3Plus::init(&config, 1, DType::F32, &Device::Cpu)?;
/// let bytes = export(&model, &OnnxOptions { size: Some([64, 96]), ..OnnxOptions::default() }, &[])?;
/// assert!(bytes.len() > 4 * config.parameter_count());
/// # Ok(())
/// # }
/// ```
pub fn export(
    model: &UNet3Plus,
    options: &OnnxOptions,
    metadata: &[(&str, &str)],
) -> Result<Vec<u8>, OnnxError> {
    let config = model.config();
    if !OnnxOptions::OPSETS.contains(&options.opset) {
        return Err(OnnxError::Opset { opset: options.opset });
    }
    let multiple = config.size_multiple();
    if let Some(size) = options.size.filter(|size| size.iter().any(|&n| n == 0 || n % multiple != 0)) {
        return Err(OnnxError::Size { size, multiple });
    }
    model.check_finite()?;
    let tensors = model.parameters().all().into_iter().collect();
    let mut builder = Builder::new(tensors, config.batch_norm_eps);
    let outputs = network::build(&mut builder, model.architecture(), config, options)?;
    let mut graph = builder.finish();
    graph.name = "UNet 3+".to_owned();
    let meaning = format!("the preprocessed image; height and width are multiples of {multiple}");
    graph.input = vec![value(INPUT, &meaning, config.in_channels, true, options)];
    let output = |output: network::Output| {
        value(&output.name, &output.meaning, output.channels, output.is_map, options)
    };
    graph.output = outputs.into_iter().map(output).collect();
    let own = config.to_json().map_err(candle_core::Error::wrap)?;
    let entry = |(key, value): (&str, &str)| Entry { key: key.to_owned(), value: value.to_owned() };
    let entries = std::iter::once(("config", own.as_str())).chain(metadata.iter().copied());
    let model = Model {
        ir_version: ir_version(options.opset),
        producer_name: "unet3p".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        opset_import: vec![OperatorSet { domain: String::new(), version: i64::from(options.opset) }],
        metadata_props: entries.map(entry).collect(),
        graph: Some(graph),
    };
    Ok(model.encode_to_vec())
}

/// The oldest version of the format that goes with a version of the operators.
fn ir_version(opset: u8) -> i64 {
    match opset {
        ..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        _ => 10,
    }
}

/// An input or an output `[batch, channels, height, width]`, or `[batch, channels]`.
fn value(name: &str, meaning: &str, channels: usize, is_map: bool, options: &OnnxOptions) -> Value {
    let side = |name: &str, fixed: Option<usize>| Dimension {
        value: Some(match fixed {
            Some(n) => Side::Fixed(n as i64),
            None => Side::Named(name.to_owned()),
        }),
    };
    let mut dim = vec![side("batch", options.size.map(|_| 1)), side("channels", Some(channels))];
    if is_map {
        dim.push(side("height", options.size.map(|[height, _]| height)));
        dim.push(side("width", options.size.map(|[_, width]| width)));
    }
    let tensor_type = Some(TensorType { elem_type: FLOAT, shape: Some(Shape { dim }) });
    Value { name: name.to_owned(), r#type: Some(Type { tensor_type }), doc_string: meaning.to_owned() }
}
