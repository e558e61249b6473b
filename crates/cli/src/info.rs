//! `unet3p info`: what a model is.

use std::borrow::Cow;
use std::fs;

use candle_core::Device;
use clap::Args;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use unet3p::ModelSource;
use unet3p_models::{Activation, Encoder, UNet3PlusConfig, Variant, parts};

use crate::args::{Global, parse_encoder, parse_size, parse_variant};
use crate::failure::{Failure, describe};
use crate::model;
use crate::report;

/// Arguments of `unet3p info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// A bundled model's name, a model folder, a .safetensors file, or ORG/NAME or ORG/NAME@REV on the Hugging Face Hub
    #[arg(required_unless_present_any = ["variant", "encoder", "filters", "classes"])]
    model: Option<String>,
    /// A network that is not there yet: base, deep_supervision or deep_supervision_cgm
    #[arg(long, conflicts_with = "model", default_value = "base", value_parser = parse_variant)]
    variant: Variant,
    /// Of a network that is not there yet: plain, vgg11_bn, resnet34, resnet50 or resnet101
    #[arg(long, conflicts_with = "model", default_value_t = Encoder::Plain, value_parser = parse_encoder)]
    encoder: Encoder,
    /// The same: channels of the first encoder stage; the next ones have the encoder's multiples of it
    #[arg(long, conflicts_with = "model", default_value_t = 64, value_name = "N")]
    filters: usize,
    /// The same: number of classes
    #[arg(long, conflicts_with = "model", default_value_t = 1, value_name = "N")]
    classes: usize,
    /// Image size for the multiply-adds: N, or HEIGHTxWIDTH
    #[arg(long, default_value = "320", value_parser = parse_size, value_name = "SIZE")]
    size: (usize, usize),
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// All that is printed.
#[derive(Debug, Serialize)]
struct Info {
    /// The bundled model, path or id; absent for a network that is not there yet.
    model: Option<String>,
    config: UNet3PlusConfig,
    /// What the channels of the input are, where the model names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channel_names: Vec<String>,
    weights: Option<Weights>,
    height: usize,
    width: usize,
    parts: Vec<Part>,
    /// Of all parts; running statistics are not counted.
    parameters: usize,
    /// Of all parts: a training step's forward pass.
    multiply_adds: u64,
    /// Of what a mask needs: of the heads the first alone.
    inference_multiply_adds: u64,
}

/// One part of the network.
#[derive(Debug, Serialize)]
struct Part {
    name: String,
    parameters: usize,
    multiply_adds: u64,
}

/// The weights as they are stored.
#[derive(Debug, Serialize)]
struct Weights {
    bytes: u64,
    /// float32, float16 or bfloat16.
    format: &'static str,
}

/// Runs `unet3p info`.
pub(crate) fn run(args: InfoArgs, global: &Global) -> Result<(), Failure> {
    let (model, config, weights, channel_names) = match &args.model {
        Some(name) => read(name, global)?,
        None => (None, planned(&args)?, None, Vec::new()),
    };
    let (height, width) = args.size;
    let parts: Vec<Part> = parts(&config, [height, width])
        .into_iter()
        .map(|part| Part { name: part.name, parameters: part.parameters, multiply_adds: part.multiply_adds })
        .collect();
    let multiply_adds = |wanted: fn(&Part) -> bool| {
        let parts = parts.iter().filter(|part| wanted(part));
        parts.fold(0, |sum: u64, part| sum.saturating_add(part.multiply_adds))
    };
    let info = Info {
        model,
        channel_names,
        weights,
        height,
        width,
        parameters: parts.iter().map(|part| part.parameters).sum(),
        multiply_adds: multiply_adds(|_| true),
        inference_multiply_adds: multiply_adds(|part| {
            part.name == "head.1" || !part.name.starts_with("head.")
        }),
        parts,
        config,
    };
    if args.json {
        let text = serde_json::to_string_pretty(&info)
            .map_err(|e| Failure::run(format!("the description cannot be written: {e}")))?;
        report::output_line(text);
    } else {
        report::output_line(table(&info));
    }
    Ok(())
}

/// A model's name, network, weights, and the names of its input channels where it says them.
type Described = (Option<String>, UNet3PlusConfig, Option<Weights>, Vec<String>);

/// Reads the model `name`: all of it, so that what is described is known to work.
fn read(name: &str, global: &Global) -> Result<Described, Failure> {
    let source = model::resolve(name, global)?;
    let network = source.load_model(&Device::Cpu).map_err(|e| Failure::run(describe(&e)))?;
    let bytes = match (&source, source.weights()) {
        (ModelSource::Bundled(bundled), _) => Cow::Borrowed(bundled.weights),
        (_, Some(path)) => Cow::Owned(
            fs::read(&path).map_err(|e| Failure::run(format!("{}: cannot be read: {e}", path.display())))?,
        ),
        _ => return Err(Failure::run(format!("{}: cannot be described", source.name()))),
    };
    let weights = Weights { bytes: bytes.len() as u64, format: format(&bytes) };
    let how = source.load_preprocessor().map_err(|e| Failure::run(describe(&e)))?;
    let names = how.map(|how| how.channel_names).unwrap_or_default();
    Ok((Some(source.name()), network.config().clone(), Some(weights), names))
}

/// The number format of the weights in a safetensors file.
fn format(bytes: &[u8]) -> &'static str {
    let Ok((_, metadata)) = SafeTensors::read_metadata(bytes) else {
        return "unknown";
    };
    let mut formats = metadata.tensors().into_values().map(|tensor| tensor.dtype);
    match formats.next() {
        Some(first) if formats.any(|other| other != first) => "mixed",
        Some(Dtype::F16) => "float16",
        Some(Dtype::BF16) => "bfloat16",
        Some(Dtype::F32) => "float32",
        _ => "unknown",
    }
}

/// The configuration of a network that is not there yet.
fn planned(args: &InfoArgs) -> Result<UNet3PlusConfig, Failure> {
    UNet3PlusConfig::builder()
        .variant(args.variant)
        .encoder(args.encoder)
        .base_filters(args.filters)
        .num_classes(args.classes)
        .build()
        .map_err(|e| Failure::usage(describe(&e)))
}

fn table(info: &Info) -> String {
    let config = &info.config;
    let mut text = String::new();
    let mut field = |name: &str, value: String| {
        text.push_str(&format!("{name:<12} {value}\n"));
    };
    if let Some(model) = &info.model {
        field("model", model.clone());
    }
    field("variant", config.variant.to_string());
    field("encoder", config.encoder.to_string());
    field(
        "channels",
        match info.channel_names.as_slice() {
            [] => config.in_channels.to_string(),
            names => format!("{}: {}", config.in_channels, names.join(", ")),
        },
    );
    field("classes", classes(config));
    field("filters", config.filters.iter().map(usize::to_string).collect::<Vec<_>>().join(", "));
    let activation = match config.activation {
        Activation::Sigmoid => "sigmoid",
        Activation::Softmax => "softmax",
    };
    field("activation", activation.to_string());
    if let Some(weights) = &info.weights {
        let megabytes = weights.bytes as f64 / 1e6;
        field("weights", format!("{megabytes:.1} MB, {}", weights.format));
    }
    let unit = format!("GMAC at {}x{}", info.height, info.width);
    text.push_str(&format!("\n{:<16} {:>14} {unit:>24}\n", "part", "parameters"));
    let mut row = |name: &str, parameters: &str, multiply_adds: u64| {
        let giga = multiply_adds as f64 / 1e9;
        text.push_str(&format!("{name:<16} {parameters:>14} {giga:>24.3}\n"));
    };
    for part in &info.parts {
        row(&part.name, &thousands(part.parameters), part.multiply_adds);
    }
    row("total", &thousands(info.parameters), info.multiply_adds);
    if info.inference_multiply_adds != info.multiply_adds {
        row("of it for a mask", "", info.inference_multiply_adds);
    }
    text.truncate(text.trim_end().len());
    text
}

fn classes(config: &UNet3PlusConfig) -> String {
    let names: Vec<_> = config.id2label.values().map(String::as_str).collect();
    match names.as_slice() {
        [] => config.num_classes.to_string(),
        names => format!("{} ({})", config.num_classes, names.join(", ")),
    }
}

/// 26971777 as 26,971,777.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(26_971_777), "26,971,777");
    }
}
