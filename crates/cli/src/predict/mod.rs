//! `unet3p predict`: images and volumes to masks.

mod inputs;
mod plan;
mod record;
mod settings;
mod work;

pub(crate) use inputs::{Input, Kind, discover};
pub(crate) use plan::{RECORD, check_folder, stems};
pub(crate) use settings::Settings;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use unet3p::{Segmenter, read_npy_shape};

use crate::args::Global;
use crate::failure::{Failure, describe};
use crate::report;
use plan::{Extras, Item};
use record::{Entry, Record};

/// Arguments of `unet3p predict`.
#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// Files or folders: images (.png, .jpg, .tif), arrays (.npy) and volumes (.nii, .nii.gz).
    /// Folders are searched to the bottom
    #[arg(short, long = "input", required = true, num_args = 1.., value_name = "PATH")]
    inputs: Vec<PathBuf>,
    /// Folder for NAME_mask.png, or NAME_mask.nii.gz of a volume, and predictions.json
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Also write NAME_overlay.png: the mask drawn over the image (over the slice of a volume that shows most of it)
    #[arg(long)]
    overlay: bool,
    /// Also write NAME_probabilities.npy: float32 [classes, height, width] (of a volume [classes, slices, height, width] on the model's grid)
    #[arg(long)]
    save_probabilities: bool,
    /// Replace outputs that exist already
    #[arg(long)]
    overwrite: bool,
}

/// Runs `unet3p predict`.
pub(crate) fn run(args: PredictArgs, global: &Global) -> Result<(), Failure> {
    let extras = Extras { overlay: args.overlay, probabilities: args.save_probabilities };
    let inputs = discover(&args.inputs, Some(&args.output), false)?;
    let items = plan::plan(inputs, &args.output, extras, args.overwrite, images_of)?;
    check_folder(&args.output)?;
    let device = global.device.open()?;
    let segmenter = args.settings.open(global, &device)?;
    create_folder(&args.output)?;

    let predictions = segment_all(&segmenter, &items, &args.output)?;
    let failed = predictions.iter().filter(|entry| matches!(entry, Entry::Failed { .. })).count();
    let record = Record {
        unet3p: env!("CARGO_PKG_VERSION"),
        labels: segmenter.labels(),
        threshold: args.settings.threshold,
        tta: args.settings.tta,
        tile: args.settings.tile,
        model: args.settings.model,
        predictions,
    };
    write_record(&record, &args.output.join(RECORD))?;
    finish(items.len(), failed, &args.output)
}

/// How many images the array in `path` holds, `None` when it is a single one. An array that cannot be read is
/// named when its turn comes.
pub(crate) fn images_of(path: &Path) -> Option<usize> {
    match read_npy_shape(path).ok()?.as_slice() {
        // an empty array of any number of images is as long as its header
        shape @ [images, _, _, _] if !shape.contains(&0) => Some(*images),
        _ => None,
    }
}

fn create_folder(folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder)
        .map_err(|e| Failure::run(format!("{}: cannot create the folder: {e}", folder.display())))
}

/// Segments one input after the other; one that fails is named at once and recorded.
fn segment_all(segmenter: &Segmenter, items: &[Item], folder: &Path) -> Result<Vec<Entry>, Failure> {
    let bar = report::bar(items.len() as u64, "inputs");
    let mut entries = Vec::new();
    for item in items {
        bar.set_message(record::text(&item.input.path));
        match work::segment(segmenter, item, folder) {
            Ok(done) => {
                for done in done {
                    for warning in &done.warnings {
                        log::warn!("{}: {warning}", done.input);
                    }
                    report::result_line(done.summary(folder));
                    entries.push(Entry::Done(done));
                }
            }
            Err(e) => {
                let error = describe(&e);
                report::error(&error);
                entries.push(Entry::Failed { input: record::text(&item.input.path), error });
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(entries)
}

fn write_record(record: &Record, path: &Path) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(record)
        .map_err(|e| Failure::run(format!("{}: cannot be written: {e}", path.display())))?;
    unet3p_data::write_atomically(path, |file| writeln!(file, "{text}"))
        .map_err(|e| Failure::run(describe(&e)))
}

/// The end of the run: all, some or none of the inputs are done.
fn finish(inputs: usize, failed: usize, folder: &Path) -> Result<(), Failure> {
    if failed == 0 {
        report::result_line(format!("done: outputs and {RECORD} are in {}", folder.display()));
        return Ok(());
    }
    let message = format!(
        "{failed} of {inputs} inputs failed, each is named above and in {}",
        folder.join(RECORD).display()
    );
    if failed == inputs {
        return Err(Failure::run(message));
    }
    Err(Failure::Partial(format!("{message}; the others are written")))
}
