//! `unet3p prepare`: data to training slices.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use unet3p_data::Size;
use unet3p_data::prepare::{ClassLabels, DatasetIndex, FolderOptions, Validation, folder, match_folders};

use crate::failure::{Failure, describe};
use crate::report;

#[derive(Debug, Subcommand)]
pub(crate) enum PrepareCommand {
    /// NIfTI volumes with label maps to 2.5D slices: turned to RAS, resampled, windowed, split by volume
    Folder(FolderArgs),
}

/// Arguments of `unet3p prepare folder`.
#[derive(Debug, Args)]
pub(crate) struct FolderArgs {
    /// Folder of volumes: NAME.nii or NAME.nii.gz
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Folder of label maps with the same names
    #[arg(long, value_name = "DIR")]
    labels: PathBuf,
    /// Folder for images/, masks/, dataset.json and preprocessor_config.json
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// A class and the labels that belong to it, e.g. liver=5 or kidneys=2,3; the first class gets id 1
    #[arg(long = "class", required = true, value_name = "NAME=ID[,ID]", value_parser = parse_class)]
    classes: Vec<ClassLabels>,
    /// Lowest and highest value (HU) that are told apart
    #[arg(long, default_value = "-200,250", value_parser = parse_window, allow_hyphen_values = true, value_name = "LOW,HIGH")]
    window: [f64; 2],
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

/// Runs `unet3p prepare`.
pub(crate) fn run(command: PrepareCommand) -> Result<(), Failure> {
    match command {
        PrepareCommand::Folder(args) => prepare_folder(args),
    }
}

fn prepare_folder(args: FolderArgs) -> Result<(), Failure> {
    let mut names = HashSet::new();
    if let Some(twice) = args.classes.iter().find(|class| !names.insert(class.name.as_str())) {
        let name = &twice.name;
        return Err(Failure::usage(format!(
            "--class {name}: given twice; name all of its labels at once, as {name}=2,3"
        )));
    }
    let pairs = match_folders(&args.images, &args.labels).map_err(|e| Failure::usage(describe(&e)))?;
    crate::predict::check_folder(&args.output)?;
    if !args.overwrite && holds_slices(&args.output) {
        return Err(Failure::usage(format!(
            "{}: the output holds slices already; use --overwrite to replace them, or another folder",
            args.output.display()
        )));
    }
    let validation = if args.validate_on.is_empty() {
        Validation::Share { share: args.validation, seed: args.seed }
    } else {
        Validation::Volumes(args.validate_on)
    };
    let options = FolderOptions {
        window: args.window,
        spacing: args.spacing,
        size: args.size,
        canvas: args.canvas,
        classes: args.classes,
        regions: args.regions,
        validation,
        overwrite: args.overwrite,
    };
    let bar = report::bar(pairs.len() as u64, "volumes");
    let index = folder(&pairs, &args.output, &options, |name, done, _| {
        bar.set_position(done as u64);
        bar.set_message(name.to_string());
    })
    .map_err(failure)?;
    bar.finish_and_clear();
    for line in summary(&index) {
        report::result_line(line);
    }
    report::result_line(format!("done: the slices are in {}", args.output.display()));
    Ok(())
}

/// Settings that cannot be followed are wrong usage, files that cannot be read or written a failed run.
fn failure(error: unet3p_data::Error) -> Failure {
    match error {
        unet3p_data::Error::Setting { .. } => Failure::usage(describe(&error)),
        error => Failure::run(describe(&error)),
    }
}

fn holds_slices(folder: &Path) -> bool {
    let not_empty =
        |name: &str| fs::read_dir(folder.join(name)).is_ok_and(|mut entries| entries.next().is_some());
    folder.join(DatasetIndex::FILE_NAME).exists() || ["images", "masks", "regions"].into_iter().any(not_empty)
}

/// A line for each volume.
fn summary(index: &DatasetIndex) -> Vec<String> {
    index
        .volumes
        .iter()
        .map(|volume| {
            let slices = index.slices.iter().filter(|slice| slice.volume == volume.name);
            let foreground = slices.clone().filter(|slice| slice.foreground).count();
            let [width, height, _] = volume.shape;
            let part = match volume.split {
                unet3p_data::prepare::Split::Train => "train",
                unet3p_data::prepare::Split::Validation => "validation",
            };
            format!(
                "{}: {} slices of {height}x{width}, {foreground} with a class, {part}",
                volume.name,
                slices.count()
            )
        })
        .collect()
}

fn parse_class(text: &str) -> Result<ClassLabels, String> {
    let wrong = || "use NAME=ID or NAME=ID,ID,... with ids from 1 to 65535".to_string();
    let (name, labels) = text.split_once('=').ok_or_else(wrong)?;
    let labels =
        labels.split(',').map(|id| id.trim().parse().ok().filter(|&id| id > 0)).collect::<Option<Vec<u16>>>();
    match labels {
        Some(labels) if !name.is_empty() => Ok(ClassLabels { name: name.to_string(), labels }),
        _ => Err(wrong()),
    }
}

fn parse_numbers(text: &str) -> Option<Vec<f64>> {
    text.split(',').map(|n| n.trim().parse().ok().filter(|n: &f64| n.is_finite())).collect()
}

fn parse_window(text: &str) -> Result<[f64; 2], String> {
    match parse_numbers(text).as_deref() {
        Some(&[low, high]) if low < high => Ok([low, high]),
        _ => Err("use LOW,HIGH, e.g. -200,250".to_string()),
    }
}

fn parse_spacing(text: &str) -> Result<[f64; 3], String> {
    match parse_numbers(text).as_deref() {
        Some(&[all]) if all > 0.0 => Ok([all; 3]),
        Some(&[x, y, z]) if [x, y, z].iter().all(|&n| n > 0.0) => Ok([x, y, z]),
        _ => Err("use one positive number of millimetres, or three: columns, rows, slices".to_string()),
    }
}

fn parse_size(text: &str) -> Result<Size, String> {
    crate::args::parse_size(text).map(|(height, width)| Size { height, width })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_they_are_meant() {
        let class = parse_class("kidneys=2,3").unwrap();
        assert_eq!((class.name.as_str(), class.labels.as_slice()), ("kidneys", &[2, 3][..]));
        for wrong in ["", "liver", "=5", "liver=", "liver=0", "liver=x", "liver=70000"] {
            assert!(parse_class(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_window("-200,250"), Ok([-200.0, 250.0]));
        for wrong in ["", "5", "5,5", "nan,5", "1,2,3"] {
            assert!(parse_window(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_spacing("3"), Ok([3.0; 3]));
        assert_eq!(parse_spacing("0.7, 0.7,5"), Ok([0.7, 0.7, 5.0]));
        for wrong in ["", "0", "-1", "1,2", "1,2,inf"] {
            assert!(parse_spacing(wrong).is_err(), "{wrong}");
        }
    }
}
