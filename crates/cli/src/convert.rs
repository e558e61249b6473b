//! `unet3p convert`: checkpoints from elsewhere to model folders.

use std::path::PathBuf;

use candle_core::DType;
use clap::{Args, ValueEnum};
use unet3p_hub::{ConvertOptions, Error, convert};

use crate::failure::{Failure, describe};
use crate::report;

/// Arguments of `unet3p convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// The checkpoint: a PyTorch state dict (.pth) of the authors' code, or a .safetensors file with its tensor names or ours
    #[arg(value_name = "SRC")]
    source: PathBuf,
    /// The model folder to write
    #[arg(value_name = "DST")]
    destination: PathBuf,
    /// Number format of the weights
    #[arg(long, value_enum, default_value_t = Format::F32)]
    format: Format,
    /// Replace a model folder that exists already
    #[arg(long)]
    overwrite: bool,
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    F32,
    F16,
}

/// Runs `unet3p convert`.
pub(crate) fn run(args: ConvertArgs) -> Result<(), Failure> {
    if !args.source.is_file() {
        return Err(Failure::usage(format!(
            "{}: no such file; name a checkpoint (.pth or .safetensors)",
            args.source.display()
        )));
    }
    crate::predict::check_folder(&args.destination)?;
    let options = ConvertOptions {
        dtype: match args.format {
            Format::F32 => DType::F32,
            Format::F16 => DType::F16,
        },
        overwrite: args.overwrite,
    };
    let report = convert(&args.source, &args.destination, &options).map_err(|e| match e {
        Error::DestinationExists { path } => Failure::usage(format!(
            "{}: the output exists already; use --overwrite to replace it, or another folder",
            path.display()
        )),
        e => Failure::run(describe(&e)),
    })?;
    report::result_line(format!(
        "{} tensors, {} parameters: variant {}, {} input channels, classes: {}, filters {:?}",
        report.tensors,
        report.parameters,
        report.config.variant,
        report.config.in_channels,
        report.config.num_classes,
        report.config.filters,
    ));
    report::result_line(format!("done: the model is in {}", args.destination.display()));
    Ok(())
}
