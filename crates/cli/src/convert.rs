//! `unet3p convert`: checkpoints from elsewhere to model folders.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use clap::{Args, ValueEnum};
use unet3p::read_npy;
use unet3p_convert::{
    CHECK_TOLERANCE, CheckError, ConvertOptions, ConvertReport, Converted, Error, check_destination, compare,
};
use unet3p_files::{Content, open};
use unet3p_models::{Activation, UNet3Plus};

use crate::failure::{Failure, describe};
use crate::report;

/// Arguments of `unet3p convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The checkpoint: PyTorch (.pth, .pt, .ckpt) or .safetensors with the authors' tensor names or ours, or Keras (.keras, .h5, .hdf5)
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// The model folder to write
    #[arg(value_name = "DST")]
    destination: PathBuf,
    /// Number format of the weights
    #[arg(long, value_enum, default_value_t = Format::F32)]
    format: Format,
    /// From logits to probabilities [default: what the checkpoint says, sigmoid for PyTorch]
    #[arg(long, value_enum)]
    activation: Option<Classes>,
    /// A JSON file with keys of config.json that count against what the checkpoint says, and where it does not say
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Predict on INPUT and compare with EXPECTED, head 1's probabilities: .npy, float32 [images, channels, height, width]. Nothing is written where they differ
    #[arg(long, num_args = 2, value_names = ["INPUT", "EXPECTED"])]
    check: Option<Vec<PathBuf>>,
    /// Replace a model folder that exists already
    #[arg(long)]
    overwrite: bool,
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    F32,
    F16,
    Bf16,
}

/// How probabilities come from logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Classes {
    /// Each class on its own
    Sigmoid,
    /// One class a pixel, the background first
    Softmax,
}

/// Runs `unet3p convert`.
pub(crate) fn run(args: ConvertArgs) -> Result<(), Failure> {
    if let Err(error) = open(&args.source, Content::Weights) {
        let path = args.source.display();
        let name = "name a checkpoint (.pth, .ckpt, .safetensors, .keras, .h5 or .hdf5)";
        return Err(match error.kind() {
            ErrorKind::NotFound => Failure::usage(format!("{path}: no such file; {name}")),
            ErrorKind::IsADirectory | ErrorKind::InvalidInput => {
                Failure::usage(format!("{path}: {error}; {name}"))
            }
            _ => Failure::run(format!("{path}: {error}")),
        });
    }
    if let Some(path) = args.check.iter().flatten().find(|path| !path.is_file()) {
        return Err(Failure::usage(format!(
            "{}: no such file; --check takes two .npy files",
            path.display()
        )));
    }
    if let Some(path) = args.config.as_ref().filter(|path| !path.is_file()) {
        return Err(Failure::usage(format!(
            "{}: no such file; --config takes a file as config.json",
            path.display()
        )));
    }
    unet3p::plan::check_folder(&args.destination)?;
    check_destination(&args.destination, args.overwrite).map_err(failure)?;
    let options = ConvertOptions {
        dtype: match args.format {
            Format::F32 => DType::F32,
            Format::F16 => DType::F16,
            Format::Bf16 => DType::BF16,
        },
        overwrite: args.overwrite,
        activation: args.activation.map(|classes| match classes {
            Classes::Sigmoid => Activation::Sigmoid,
            Classes::Softmax => Activation::Softmax,
        }),
        config: args.config,
    };
    let converted = Converted::read_as(&args.source, &options).map_err(failure)?;
    if let Some([input, expected]) = args.check.as_deref() {
        check(converted.model(), input, expected)?;
    }
    let report = converted.save(&args.destination, &options).map_err(failure)?;
    print(&report, options.dtype);
    report::result_line(format!("done: the model is in {}", args.destination.display()));
    Ok(())
}

/// Fails where the network does not predict what the original does.
fn check(model: &UNet3Plus, input: &Path, expected: &Path) -> Result<(), Failure> {
    let compared = compare(model, &array(input)?, &array(expected)?).map_err(|e| {
        let path = if matches!(e, CheckError::Expected { .. }) { expected } else { input };
        Failure::run(format!("{}: {}", path.display(), describe(&e)))
    })?;
    let figures = format!(
        "relative L2 error {:.1e}, largest difference {:.1e}",
        compared.relative_l2, compared.largest
    );
    if compared.passes() {
        report::result_line(format!("check: {figures}"));
        return Ok(());
    }
    Err(Failure::run(format!(
        "the converted network does not predict {}: {figures}, where {CHECK_TOLERANCE:.0e} is allowed; nothing is \
         written. The expected values are the original's probabilities (not logits) of the full-resolution head in \
         evaluation mode; another activation is taken with --activation",
        expected.display()
    )))
}

fn array(path: &Path) -> Result<Tensor, Failure> {
    let (shape, values) = read_npy(path).map_err(|e| Failure::run(describe(&e)))?;
    Tensor::from_vec(values, shape, &Device::Cpu)
        .map_err(|e| Failure::run(format!("{}: {e}", path.display())))
}

fn print(report: &ConvertReport, dtype: DType) {
    report::result_line(format!(
        "{} tensors, {} parameters: variant {}, encoder {}, {} input channels, classes: {} ({}), filters {:?}",
        report.tensors,
        report.parameters,
        report.config.variant,
        report.config.encoder,
        report.config.in_channels,
        report.config.num_classes,
        match report.config.activation {
            Activation::Sigmoid => "sigmoid",
            Activation::Softmax => "softmax",
        },
        report.config.filters,
    ));
    if !report.left_out.is_empty() {
        let names = report.left_out.iter().map(|(name, count)| match count {
            1 => name.clone(),
            _ => format!("{name} ({count} times)"),
        });
        let names = names.collect::<Vec<_>>().join(", ");
        report::result_line(format!("left out, for they are no weights: {names}"));
    }
    for assumed in &report.assumed {
        let mend = match assumed.key {
            "activation" => "--activation sets it",
            "preprocessor_config.json" => "change the file to what the training did",
            _ => "--config sets it",
        };
        report::result_line(format!(
            "assumed: {} = {}, because {}; {mend}",
            assumed.key, assumed.value, assumed.reason
        ));
    }
    if let Some(rounding) = &report.rounding {
        let place =
            if rounding.tensor.is_empty() { String::new() } else { format!(" ({})", rounding.tensor) };
        report::result_line(format!(
            "stored as {}: relative L2 error {:.1e}, largest relative error of a weight {:.1e}{place}",
            dtype.as_str(),
            rounding.relative_l2,
            rounding.largest_relative,
        ));
    }
}

fn failure(error: Error) -> Failure {
    match error {
        Error::DestinationExists { path } => Failure::usage(format!(
            "{}: the output exists already; use --overwrite to replace it, or another folder",
            path.display()
        )),
        error @ Error::Config { .. } => Failure::usage(describe(&error)),
        error => Failure::run(describe(&error)),
    }
}
