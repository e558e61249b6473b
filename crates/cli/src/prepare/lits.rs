//! `unet3p prepare lits`: the Liver Tumor Segmentation benchmark.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use unet3p_data::Size;
use unet3p_data::prepare::{FolderOptions, Lits, Tumors};

use super::cut::{Grid, Scaling, cut};
use super::parse::{parse_size, parse_window};
use crate::failure::{Failure, describe};

/// What becomes of tumours.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tumor {
    /// They count as liver: one class
    Merge,
    /// Liver is class 1, tumor class 2
    Keep,
}

/// Arguments of `unet3p prepare lits`.
#[derive(Debug, Args)]
pub(crate) struct LitsArgs {
    /// Folder with volume-N.nii and segmentation-N.nii (or .nii.gz), also in folders inside it
    #[arg(short, long, value_name = "DIR")]
    input: PathBuf,
    /// Folder for images/, masks/, dataset.json and preprocessor_config.json
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Resample every slice to this size
    #[arg(long, default_value = "320x320", value_parser = parse_size, value_name = "HEIGHTxWIDTH")]
    size: Size,
    /// Crop every slice to this size about its centre, instead of resampling it
    #[arg(long, value_parser = parse_size, value_name = "HEIGHTxWIDTH", conflicts_with = "size")]
    crop: Option<Size>,
    /// What becomes of a segmentation with the shape of its volume and another affine; some of LiTS have lost theirs
    #[arg(long, value_enum, default_value = "image")]
    grid: Grid,
    /// What becomes of tumours
    #[arg(long, value_enum, default_value = "merge")]
    tumor: Tumor,
    /// Lowest and highest value (HU) that are told apart
    #[arg(long, default_value = "-200,250", value_parser = parse_window, allow_hyphen_values = true, value_name = "LOW,HIGH")]
    window: [f64; 2],
    /// How windowed values reach the network
    #[arg(long, value_enum, default_value = "window")]
    normalize: Scaling,
    /// The volumes up to this number are kept for validation
    #[arg(long, default_value_t = Lits::LAST_VALIDATION, value_name = "N")]
    validate_to: u32,
    /// Replace slices that an earlier run wrote
    #[arg(long)]
    overwrite: bool,
}

/// Runs `unet3p prepare lits`.
pub(super) fn run(args: LitsArgs) -> Result<(), Failure> {
    let lits = Lits::find(&args.input).map_err(|e| Failure::usage(describe(&e)))?;
    let tumors = match args.tumor {
        Tumor::Merge => Tumors::Merge,
        Tumor::Keep => Tumors::Keep,
    };
    let options = FolderOptions {
        window: Some(args.window.into()),
        normalize: args.normalize.into(),
        size: args.crop.is_none().then_some(args.size),
        canvas: args.crop,
        classes: tumors.classes(),
        grid: args.grid.into(),
        validation: lits.validation(args.validate_to),
        overwrite: args.overwrite,
        ..FolderOptions::default()
    };
    cut(&lits.pairs(), lits.left_out(), &args.output, &options)
}
