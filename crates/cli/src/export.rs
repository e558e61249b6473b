//! `unet3p export`: a model as an ONNX file.

use std::path::PathBuf;

use candle_core::Device;
use clap::Args;
use clap::builder::RangedI64ValueParser;
use unet3p_convert::onnx::{OnnxOptions, export};
use unet3p_data::write_atomically;

use crate::args::{Global, parse_size};
use crate::failure::{Failure, describe};
use crate::{model, report};

/// The side of the image where neither the model nor the command line says it.
const SIDE: usize = 320;

/// Arguments of `unet3p export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The model: a bundled model's name, a model folder, a .safetensors file, or an id of the Hub
    model: String,
    /// The ONNX file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Version of the operators
    #[arg(long, default_value_t = OnnxOptions::default().opset, value_parser = opsets(), value_name = "N")]
    opset: u8,
    /// Any batch, height and width, in place of one image of a fixed size
    #[arg(long, conflicts_with = "size")]
    dynamic: bool,
    /// The image's size: N, or HEIGHTxWIDTH, rounded up to a multiple of 16 or 32 [default: the model's, else 320]
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    size: Option<(usize, usize)>,
    /// Give every head of deep supervision, not head 1 alone
    #[arg(long)]
    all_heads: bool,
    /// Give logits, without activation and gate, in place of probabilities
    #[arg(long)]
    logits: bool,
    /// Replace a file that exists already
    #[arg(long)]
    overwrite: bool,
}

fn opsets() -> RangedI64ValueParser<u8> {
    let (first, last) = (*OnnxOptions::OPSETS.start(), *OnnxOptions::OPSETS.end());
    clap::value_parser!(u8).range(i64::from(first)..=i64::from(last))
}

/// Runs `unet3p export`.
pub(crate) fn run(args: ExportArgs, global: &Global) -> Result<(), Failure> {
    let path = args.output.display();
    if !args.overwrite && args.output.exists() {
        return Err(Failure::usage(format!(
            "{path}: the output exists already; use --overwrite to replace it, or another name"
        )));
    }
    let source = model::resolve(&args.model, global)?;
    let network = source.load_model(&Device::Cpu).map_err(|e| Failure::run(describe(&e)))?;
    let preprocessor = source.load_preprocessor().map_err(|e| Failure::run(describe(&e)))?;
    let size = preprocessor.as_ref().and_then(|preprocessor| preprocessor.size);
    let size = args.size.or(size.map(|size| (size.height, size.width))).unwrap_or((SIDE, SIDE));
    let multiple = network.config().size_multiple();
    let [height, width] = [size.0, size.1].map(|side| side.next_multiple_of(multiple));
    let options = OnnxOptions {
        opset: args.opset,
        size: (!args.dynamic).then_some([height, width]),
        all_heads: args.all_heads,
        logits: args.logits,
    };
    let preprocessor = preprocessor.map(|preprocessor| serde_json::to_string(&preprocessor)).transpose();
    let preprocessor = preprocessor.map_err(|e| Failure::run(format!("{}: {e}", args.model)))?;
    let metadata: Vec<_> = preprocessor.iter().map(|json| ("preprocessor_config", json.as_str())).collect();
    let bytes = export(&network, &options, &metadata).map_err(|e| Failure::run(describe(&e)))?;
    write_atomically(&args.output, |file| std::io::Write::write_all(file, &bytes))
        .map_err(|e| Failure::run(describe(&e)))?;
    if args.all_heads && !network.config().variant.has_deep_supervision() {
        report::note(format!("{}: has head 1 alone, for it is of variant base", args.model));
    }
    let shape = match options.size {
        Some([height, width]) => format!("1 x {} x {height} x {width}", network.config().in_channels),
        None => format!(
            "batch x {} x height x width, sides in multiples of {multiple}",
            network.config().in_channels
        ),
    };
    report::result_line(format!(
        "{path}: {:.1} MB, opset {}, image {shape}, already preprocessed",
        bytes.len() as f64 / 1e6,
        options.opset
    ));
    Ok(())
}
