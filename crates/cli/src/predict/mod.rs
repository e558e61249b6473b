//! `unet3p predict`: images and volumes to masks.

mod work;

use std::path::{Path, PathBuf};

use clap::Args;
use unet3p::Segmenter;
use unet3p::plan::{
    Earlier, Extras, Item, Journal, Kept, PlanError, Run, Target, by_case, check_folder, check_new,
    create_folder, discover, is_list, layout, listed_cases, lock, may_be_channel, plan, without_written,
};
use unet3p::record::{Entry, FILE_NAME, Identity, Options, RecordError, text};

use crate::args::Global;
use crate::failure::{Failure, describe};
use crate::settings::Settings;
use crate::{model, report};

/// Arguments of `unet3p predict`.
#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// Files or folders: images (.png, .jpg, .tif), arrays (.npy), volumes (.nii, .nii.gz) and lists of images or volumes
    /// (.csv). Folders are searched to the bottom. For a model of several channels CASE_0000, CASE_0001, ... are one case
    #[arg(short, long = "input", required = true, num_args = 1.., value_name = "PATH")]
    inputs: Vec<PathBuf>,
    /// Folder for NAME_mask.png, or NAME_mask.nii.gz of a volume, and predictions.json; of a single input also the mask's
    /// own name: a .png, or the .nii.gz or .nii of a volume
    #[arg(short, long, value_name = "DIR|FILE")]
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
    /// Go on with a run that was cut off or in which inputs failed: what is finished is not segmented again
    #[arg(long = "continue", conflicts_with = "overwrite")]
    go_on: bool,
}

/// Runs `unet3p predict`.
pub(crate) fn run(args: PredictArgs, global: &Global) -> Result<(), Failure> {
    let target = Target::at(&args.output)?;
    let extras = Extras { overlay: args.overlay, probabilities: args.save_probabilities };
    let skip = matches!(target, Target::Folder(_)).then(|| target.folder());
    let roots: Vec<PathBuf> = args.inputs.iter().map(|path| images_of_dataset(path)).collect();
    let (lists, roots): (Vec<PathBuf>, Vec<PathBuf>) = roots.into_iter().partition(|path| is_list(path));
    let mut inputs = if roots.is_empty() { Vec::new() } else { discover(&roots, skip, false)? };
    // How a model puts channels together is asked for only where there may be some.
    let mut source = None;
    if !lists.is_empty() || inputs.iter().any(may_be_channel) {
        let found = model::resolve(args.settings.model(), global)?;
        let how = found.load_preprocessor().map_err(|e| Failure::run(describe(&e)))?.unwrap_or_default();
        inputs = by_case(inputs, &how);
        for list in &lists {
            inputs.extend(listed_cases(list, &how)?);
        }
        source = Some(found);
    }
    let inputs = without_written(inputs, &roots, Some(&target))?;
    let items = plan(inputs, &target, extras)?;
    check_folder(target.folder())?;
    let options = Options {
        model: args.settings.model().to_string(),
        threshold: args.settings.threshold,
        tta: args.settings.tta,
        tile: args.settings.tile,
    };
    let earlier = || -> Result<Option<Earlier>, PlanError> {
        let earlier = if args.go_on { Earlier::read(&target, &options)? } else { None };
        if !args.overwrite && earlier.is_none() {
            check_new(&items, &target.record())?;
        }
        Ok(earlier)
    };
    let mut held = lock(&target)?;
    let mut found = earlier()?;
    let device = global.device.open()?;
    let source = source.map_or_else(|| model::resolve(&options.model, global), Ok)?;
    let segmenter = args.settings.open_source(&source, &device)?;
    let identity = Identity {
        labels: segmenter.labels(),
        weights: Some(source.digest().map_err(|e| Failure::run(describe(&e)))?),
    };
    create_folder(target.folder())?;
    if held.is_none() {
        // Another process may have made the folder, and filled it.
        held = lock(&target)?;
        found = earlier()?;
    }
    let kept = match found {
        Some(earlier) => {
            earlier.check_model(&target, &identity)?;
            earlier.kept(&items, &target)?
        }
        None => Kept { finished: items.iter().map(|_| Vec::new()).collect(), others: Vec::new() },
    };
    let mut journal =
        Journal::begin(Run { record: target.record(), options, identity }, kept, report::warnings)
            .map_err(|e| unwritten(&e))?;
    let finished = (0..items.len()).filter(|&i| journal.is_finished(i)).count();
    if args.go_on {
        report::note(format!("{finished} of {} inputs are finished already", items.len()));
    }
    segment_all(&segmenter, &items, target.folder(), &mut journal);
    let failed = journal.failed();
    journal.end().map_err(|e| unwritten(&e))?;
    drop(held);
    finish(items.len(), failed, &target)
}

/// Where the images of an input lie: of a dataset with images and masks beside each other, the images alone.
fn images_of_dataset(path: &Path) -> PathBuf {
    let images = layout::images(path);
    if images != path {
        log::warn!(
            "{}: is a dataset with masks beside its images; only {} is segmented",
            path.display(),
            images.display()
        );
    }
    images
}

fn unwritten(error: &RecordError) -> Failure {
    Failure::run(describe(error))
}

/// Segments one input after the other; one that fails is named at once and recorded.
fn segment_all(segmenter: &Segmenter, items: &[Item], folder: &Path, journal: &mut Journal) {
    let bar = report::bar(items.len() as u64, "inputs");
    for (index, item) in items.iter().enumerate() {
        if journal.is_finished(index) {
            bar.inc(1);
            continue;
        }
        bar.set_message(text(&item.input.path));
        let entries = match work::segment(segmenter, item, folder) {
            Ok(done) => {
                for done in &done {
                    done.warnings.iter().for_each(|warning| report::warning(&done.input, warning));
                    report::result_line(work::summary(done, folder));
                }
                done.into_iter().map(|done| Entry::Done(Box::new(done))).collect()
            }
            Err(e) => {
                let error = describe(&e);
                report::error(&error);
                vec![Entry::Failed { input: text(&item.input.path), error }]
            }
        };
        journal.add(index, entries);
        bar.inc(1);
    }
    bar.finish_and_clear();
}

/// The end of the run: all, some or none of the inputs are done.
fn finish(inputs: usize, failed: usize, target: &Target) -> Result<(), Failure> {
    let record = target.record();
    if failed == 0 {
        report::result_line(match target {
            Target::Folder(folder) => {
                format!("done: outputs and {} are in {}", FILE_NAME, folder.display())
            }
            Target::File(file) => {
                format!("done: the mask is {}, its record {}", file.display(), record.display())
            }
        });
        return Ok(());
    }
    let message =
        format!("{failed} of {inputs} inputs failed, each is named above and in {}", record.display());
    if failed == inputs {
        return Err(Failure::run(message));
    }
    Err(Failure::Partial(format!("{message}; the others are written")))
}
