//! `unet3p evaluate`: scores of a model on a dataset, or of masks against masks.

mod cases;
mod classes;
mod find;
mod job;
mod mask;
mod own_data;
mod pairs;
mod predictor;
mod record;
mod run_folder;
mod score;
mod slices;
mod summary;
mod table;
mod work;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::args::Global;
use crate::failure::Failure;
use crate::predict::Settings;
use crate::report;
use classes::Classes;
use find::Found;
use job::{Form, Job};
use mask::Reader;
use predictor::Predictor;
use record::{Files, Origin};
use score::Rules;
use slices::Slices;
use summary::Totals;
use work::MaskSource;

/// Arguments of `unet3p evaluate`.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// Masks to score: a folder (searched to the bottom) of .png, .tif, .nii or .nii.gz, or one file
    #[arg(long, value_name = "DIR", conflicts_with_all = ["inputs", "model", "tta", "threshold", "tile"])]
    predictions: Option<PathBuf>,
    /// Images to run the model on: files or folders, as for predict. Without them, and without masks, `-m RUN` is the folder
    /// of a training run, which is scored on its own validation
    #[arg(short, long = "input", num_args = 1.., value_name = "PATH")]
    inputs: Vec<PathBuf>,
    /// The masks that are right, with the names of the predictions or images: a folder, or one file
    #[arg(short, long, value_name = "DIR")]
    references: Option<PathBuf>,
    /// The file for the scores, .json; a .csv with a row for each case and class goes beside it [default: evaluation.json
    /// in the folder of a training run]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// Class ids to score [default: the model's, else all that are found]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..), value_name = "ID[,ID]")]
    classes: Vec<u16>,
    /// Leave pixels with this value in references out of every count [default: what the run's or an nnU-Net dataset's
    /// configuration says, else none]
    #[arg(long, value_name = "ID")]
    ignore: Option<u16>,
    /// How values or colours of masks become class ids: data.mask_values or data.mask_colors, as in a training
    /// configuration, e.g. 'data.mask_colors={"#ff0000"=1}'
    #[arg(long = "set", value_name = "KEY=VALUE")]
    mask_settings: Vec<String>,
    /// Tolerance of the surface Dice (NSD) in mm, in pixels where masks have no spacing
    #[arg(long, default_value_t = 1.0, value_parser = parse_tolerance, allow_negative_numbers = true, value_name = "MM")]
    nsd_tolerance: f64,
    /// Score slices one by one, not the volumes that they are cut from
    #[arg(long)]
    per_slice: bool,
    /// Score only this part: slices that dataset.json marks so, or a training run's own [default: all; of a training run
    /// validation]
    #[arg(long, value_enum)]
    split: Option<Split>,
    /// Score what has both a prediction and a reference, and name the rest
    #[arg(long)]
    allow_missing: bool,
    /// Replace scores that exist already
    #[arg(long)]
    overwrite: bool,
}

/// A part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Split {
    Train,
    Validation,
}

impl Split {
    /// Its name on the command line.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
    }
}

/// Runs `unet3p evaluate`.
pub(crate) fn run(args: EvaluateArgs, global: &Global) -> Result<(), Failure> {
    let job = Job::new(&args)?;
    let mut files = Files::new(&job.output, args.overwrite)?;
    let mut split = args.split;
    let (slices, dataset);
    let Found { cases, missing } = match &job.form {
        Form::Masks { references, .. } | Form::Images { references, .. } => {
            (slices, dataset) = (Slices::beside(references, args.per_slice)?, None);
            find::cases(&args, &job, references, slices.as_ref())?
        }
        Form::Run(run) => {
            let part = *split.get_or_insert(Split::Validation);
            let data = own_data::open(run, args.ignore)?;
            let cases = own_data::cases(run, &data, part, args.per_slice)?;
            (slices, dataset) = (None, Some(data));
            Found { cases, missing: Vec::new() }
        }
    };
    let ignore = match &dataset {
        Some(data) => data.ignored().map(u16::from),
        None => job.ignored(args.ignore),
    };
    if let Some(id) = ignore.filter(|id| args.classes.contains(id)) {
        return Err(Failure::usage(format!("--classes {id}: is left out (--ignore), and cannot be scored")));
    }
    let mut predictor = match job.model(&args) {
        None => None,
        Some(model) => {
            let device = global.device.open()?;
            let (segmenter, _) = args.settings.open(&model.to_string_lossy(), global, &device)?;
            Some(Predictor::new(segmenter))
        }
    };
    let known = match (&predictor, &job.form) {
        (Some(predictor), _) => predictor.labels(),
        (None, Form::Masks { predictions, .. }) => classes::named_in(predictions, slices.as_ref()),
        (None, _) => Default::default(),
    };
    let classes = Classes::new(&args.classes, known, predictor.is_some());
    let rules = Rules { classes: &classes, tolerance: args.nsd_tolerance, ignore };
    let reader = Reader::new(
        job.mask_options(&args.mask_settings, ignore)?,
        dataset.is_none() && classes.may_be_binary(),
        &cases,
    )?;
    let mut source = match (&mut predictor, &dataset) {
        (None, _) => MaskSource::Files(&reader),
        (Some(predictor), None) => MaskSource::Model(predictor, &reader),
        (Some(predictor), Some(dataset)) => MaskSource::Run(predictor, dataset),
    };

    let outcomes = work::score_all(&cases, &rules, &mut source);
    let failed = outcomes.iter().filter(|outcome| outcome.scored.is_err()).count();
    if failed == cases.len() {
        return Err(Failure::run(format!(
            "all {failed} cases failed, each is named above; nothing is written"
        )));
    }
    let ids = classes.scored(&outcomes, ignore)?;
    let totals = Totals::new(&outcomes, &ids);
    let model = predictor.is_some().then(|| args.settings.model());
    let split = split.map(Split::name);
    files.write(&outcomes, &totals, &classes, &rules, &Origin { model, split, missing })?;
    for line in table::lines(&totals, &classes) {
        report::result_line(line);
    }
    finish(cases.len(), failed, &files)
}

fn finish(cases: usize, failed: usize, files: &Files) -> Result<(), Failure> {
    if failed == 0 {
        report::result_line(format!("done: the scores are in {files}"));
        return Ok(());
    }
    Err(Failure::Partial(format!(
        "{failed} of {cases} cases failed, each is named above and in the scores; the others are in {files}"
    )))
}

fn parse_tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(mm) if mm >= 0.0 && f64::is_finite(mm) => Ok(mm),
        _ => Err("use a distance of 0 or more".to_string()),
    }
}
