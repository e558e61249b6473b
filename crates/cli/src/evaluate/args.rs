//! Arguments of `unet3p evaluate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use unet3p_data::prepare;

use crate::settings::Settings;

/// Arguments of `unet3p evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// Masks to score: a folder (searched to the bottom) of .png, .tif, .nii or .nii.gz, or one file
    #[arg(long, value_name = "DIR", conflicts_with_all = ["inputs", "model", "tta", "threshold", "tile"])]
    pub(super) predictions: Option<PathBuf>,
    /// Images to run the model on: files or folders, as for predict. Without them, and without masks, `-m RUN` is the folder
    /// of a training run, which is scored on its own validation
    #[arg(short, long = "input", num_args = 1.., value_name = "PATH")]
    pub(super) inputs: Vec<PathBuf>,
    /// The masks that are right, with the names of the predictions or images: a folder, or one file
    #[arg(short, long, value_name = "DIR")]
    pub(super) references: Option<PathBuf>,
    /// The file for the scores, .json; a .csv with a row for each case and class goes beside it [default: evaluation.json
    /// in the folder of a training run]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: Settings,
    /// Class ids to score [default: the model's, else all that are found]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..), value_name = "ID[,ID]")]
    pub(super) classes: Vec<u16>,
    /// Leave pixels with this value in references out of every count [default: what the run's or an nnU-Net dataset's
    /// configuration says, else none]
    #[arg(long, value_name = "ID")]
    pub(super) ignore: Option<u16>,
    /// How values or colours of masks become class ids: data.mask_values or data.mask_colors, as in a training
    /// configuration, e.g. 'data.mask_colors={"#ff0000"=1}'
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) mask_settings: Vec<String>,
    /// Tolerance of the surface Dice (NSD) in mm, in pixels where masks have no spacing
    #[arg(long, default_value_t = 1.0, value_parser = parse_tolerance, allow_negative_numbers = true, value_name = "MM")]
    pub(super) nsd_tolerance: f64,
    /// Score slices one by one, not the volumes that they are cut from
    #[arg(long)]
    pub(super) per_slice: bool,
    /// Score only this part: slices that dataset.json marks so, or a training run's own [default: all; of a training run
    /// validation]
    #[arg(long, value_enum)]
    pub(super) split: Option<Split>,
    /// Score what has both a prediction and a reference, and name the rest
    #[arg(long)]
    pub(super) allow_missing: bool,
    /// Replace scores that exist already
    #[arg(long)]
    pub(super) overwrite: bool,
}

/// A part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Split {
    Train,
    Validation,
}

impl From<Split> for prepare::Split {
    fn from(split: Split) -> Self {
        match split {
            Split::Train => Self::Train,
            Split::Validation => Self::Validation,
        }
    }
}

impl Split {
    /// Its name on the command line.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
    }
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(mm) if mm >= 0.0 && f64::is_finite(mm) => Ok(mm),
        _ => Err("use a distance of 0 or more".to_string()),
    }
}
