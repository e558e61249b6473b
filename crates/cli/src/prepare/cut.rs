//! Volumes to slices, with a bar: what `prepare folder` and `prepare lits` share.

use std::path::Path;

use clap::ValueEnum;
use unet3p_data::Normalize;
use unet3p_data::prepare::{self, DatasetIndex, FolderOptions, LabelGrid, Split, VolumePair};

use unet3p::plan::check_folder;

use crate::failure::{Failure, describe};
use crate::report;

/// How windowed values reach the network.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Scaling {
    /// As they are: the window's ends are 0 and 1 in every slice
    Window,
    /// Each slice's smallest value is 0 and its largest 1
    Minmax,
    /// Each slice of each channel has the mean 0 and the deviation 1
    Zscore,
}

impl From<Scaling> for Normalize {
    fn from(scaling: Scaling) -> Self {
        match scaling {
            Scaling::Window => Self::Window,
            Scaling::Minmax => Self::Minmax,
            Scaling::Zscore => Self::Zscore,
        }
    }
}

/// What becomes of a label map with the shape of its volume and another affine.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Grid {
    /// It lies on the volume's grid, which is said
    Image,
    /// It is refused, and its volume with it
    Refuse,
}

impl From<Grid> for LabelGrid {
    fn from(grid: Grid) -> Self {
        match grid {
            Grid::Image => Self::Image,
            Grid::Refuse => Self::Refuse,
        }
    }
}

/// Cuts the volumes, with a bar, and tells what became of each. Files that were left out count as failed.
pub(super) fn cut(
    pairs: &[VolumePair],
    left_out: &[String],
    output: &Path,
    options: &FolderOptions,
) -> Result<(), Failure> {
    check_folder(output)?;
    prepare::check_output(output, options)
        .map_err(|e| Failure::usage(format!("{} (--overwrite)", describe(&e))))?;
    left_out.iter().for_each(report::error);
    let bar = report::bar(pairs.len() as u64, "volumes");
    let index = prepare::folder(pairs, output, options, |name, done, _| {
        bar.set_position(done as u64);
        bar.set_message(name.to_string());
    })
    .map_err(failure)?;
    bar.finish_and_clear();
    for volume in &index.volumes {
        volume.warnings.iter().for_each(|warning| log::warn!("{}: {warning}", volume.name));
    }
    index.warnings.iter().for_each(|warning| log::warn!("{warning}"));
    index.failed.iter().for_each(|failed| report::error(&failed.error));
    for line in summary(&index) {
        report::result_line(line);
    }
    match left_out.len() + index.failed.len() {
        0 => {
            report::result_line(format!("done: the slices are in {}", output.display()));
            Ok(())
        }
        failed => Err(Failure::Partial(format!(
            "{failed} inputs failed, each is named above; the slices of the others are in {}. {}",
            output.display(),
            match index.failed.is_empty() {
                true => "Mend them and use --overwrite to prepare all",
                false => "The same command prepares what was mended since",
            }
        ))),
    }
}

/// Settings that cannot be followed are wrong usage, files that cannot be read or written a failed run.
fn failure(error: unet3p_data::Error) -> Failure {
    match error {
        unet3p_data::Error::Setting { .. } => Failure::usage(describe(&error)),
        error => Failure::run(describe(&error)),
    }
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
                Split::Train => "train",
                Split::Validation => "validation",
            };
            format!(
                "{}: {} slices of {height}x{width}, {foreground} with a class, {part}",
                volume.name,
                slices.count()
            )
        })
        .collect()
}
