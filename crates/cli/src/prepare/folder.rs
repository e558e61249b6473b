//! `unet3p prepare folder`: volumes with label maps of any task.

use std::collections::HashSet;
use std::path::PathBuf;

use clap::Args;
use unet3p_data::prepare::{
    ClassLabels, FolderOptions, Matched, NamePattern, NamePatterns, Validation, match_folders,
};
use unet3p_data::{Size, Window};

use super::cut::{Grid, Scaling, cut};
use super::parse::{parse_class, parse_pattern, parse_size, parse_spacing, parse_window};
use crate::failure::{Failure, describe};

/// Arguments of `unet3p prepare folder`.
#[derive(Debug, Args)]
pub(crate) struct FolderArgs {
    /// Folder of volumes: NAME.nii or NAME.nii.gz
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Folder of label maps with the same names; may be that of the volumes
    #[arg(long, value_name = "DIR")]
    labels: PathBuf,
    /// How volumes are named, without the ending: img{name}, {name}/imaging [default: as their label maps]
    #[arg(long, value_parser = parse_pattern, value_name = "PATTERN")]
    image_name: Option<NamePattern>,
    /// How label maps are named, without the ending: label{name}, {name}/segmentation
    #[arg(long, value_parser = parse_pattern, value_name = "PATTERN")]
    label_name: Option<NamePattern>,
    /// What becomes of a label map with the shape of its volume and another affine
    #[arg(long, value_enum, default_value = "refuse")]
    grid: Grid,
    /// Folder for images/, masks/, dataset.json and preprocessor_config.json
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// A class and the labels that belong to it, e.g. liver=5 or kidneys=2,3; the first class gets id 1
    #[arg(long = "class", required = true, value_name = "NAME=ID[,ID]", value_parser = parse_class)]
    classes: Vec<ClassLabels>,
    /// Lowest and highest value (HU) that are told apart; of cases with several channels once for all, or once for each
    /// [default: -200,250; none for several channels]
    #[arg(long, value_parser = parse_window, allow_hyphen_values = true, value_name = "LOW,HIGH")]
    window: Vec<[f64; 2]>,
    /// How values reach the network [default: window where there is one, else zscore]
    #[arg(long, value_enum)]
    normalize: Option<Scaling>,
    /// Distance in mm between pixels, or between columns, rows and slices [default: each volume's own]
    #[arg(long, value_parser = parse_spacing, value_name = "MM[,MM,MM]")]
    spacing: Option<[f64; 3]>,
    /// Resample every slice to this size, instead of to a spacing
    #[arg(long, value_parser = parse_size, value_name = "HEIGHTxWIDTH", conflicts_with = "spacing")]
    size: Option<Size>,
    /// Crop or pad every slice to this size, about its centre
    #[arg(long, value_parser = parse_size, value_name = "HEIGHTxWIDTH")]
    canvas: Option<Size>,
    /// Also keep all labels in regions/, for changes of contrast inside organs during training
    #[arg(long)]
    regions: bool,
    /// Share of the volumes that is kept for validation
    #[arg(long, default_value_t = 0.0, value_name = "SHARE", conflicts_with = "validate_on")]
    validation: f64,
    /// Names of the volumes that are kept for validation
    #[arg(long, num_args = 1.., value_name = "NAME")]
    validate_on: Vec<String>,
    /// Seed of the draw of the validation volumes
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Replace slices that an earlier run wrote
    #[arg(long)]
    overwrite: bool,
}

/// Runs `unet3p prepare folder`.
pub(super) fn run(args: FolderArgs) -> Result<(), Failure> {
    let mut names = HashSet::new();
    if let Some(twice) = args.classes.iter().find(|class| !names.insert(class.name.as_str())) {
        let name = &twice.name;
        return Err(Failure::usage(format!(
            "--class {name}: given twice; name all of its labels at once, as {name}=2,3"
        )));
    }
    let names = patterns(args.image_name, args.label_name);
    let Matched { pairs, channels, left_out } = match_folders(&args.images, &args.labels, names.as_ref())
        .map_err(|e| {
            let remedy =
                if names.is_none() { " (--image-name and --label-name pair other names)" } else { "" };
            Failure::usage(format!("{}{remedy}", describe(&e)))
        })?;
    let validation = if args.validate_on.is_empty() {
        Validation::Share { share: args.validation, seed: args.seed }
    } else {
        // Volumes in folders are called by both names.
        Validation::Volumes(args.validate_on.iter().map(|name| name.replace('/', "_")).collect())
    };
    if channels.is_empty() && args.window.len() > 1 {
        return Err(Failure::usage("--window: given more than once, and each volume has one channel"));
    }
    let window = match args.window.as_slice() {
        [] if channels.is_empty() => FolderOptions::default().window,
        [] => None,
        [window] => Some(Window::from(*window)),
        windows => Some(Window::PerChannel(windows.to_vec())),
    };
    let scaling = args.normalize.unwrap_or(if window.is_some() { Scaling::Window } else { Scaling::Zscore });
    let options = FolderOptions {
        channels,
        window,
        normalize: scaling.into(),
        spacing: args.spacing,
        size: args.size,
        canvas: args.canvas,
        classes: args.classes,
        grid: args.grid.into(),
        regions: args.regions,
        validation,
        overwrite: args.overwrite,
    };
    let left_out: Vec<String> = left_out.iter().map(|error| describe(error)).collect();
    cut(&pairs, &left_out, &args.output, &options)
}

/// The patterns, where one is given; the other's is then the name alone.
fn patterns(image: Option<NamePattern>, labels: Option<NamePattern>) -> Option<NamePatterns> {
    if image.is_none() && labels.is_none() {
        return None;
    }
    let plain = || parse_pattern("{name}").ok();
    Some(NamePatterns { image: image.or_else(plain)?, labels: labels.or_else(plain)? })
}
