//! `unet3p evaluate`: scores of a model on a dataset, or of masks against masks.

mod cases;
mod classes;
mod mask;
mod pairs;
mod predictor;
mod record;
mod score;
mod slices;
mod summary;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use rayon::prelude::*;

use crate::args::Global;
use crate::failure::{Failure, describe};
use crate::predict::{Settings, check_folder};
use crate::report;
use cases::Case;
use classes::Classes;
use mask::Mask;
use pairs::Pair;
use predictor::Predictor;
use record::{Files, Outcome};
use score::Rules;
use slices::Slices;
use summary::Totals;

/// Arguments of `unet3p evaluate`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("scored").required(true).args(["predictions", "inputs"]))]
pub(crate) struct EvaluateArgs {
    /// Masks to score: a folder (searched to the bottom) of .png, .tif, .nii or .nii.gz, or one file
    #[arg(long, value_name = "DIR", conflicts_with_all = ["model", "tta", "threshold", "tile"])]
    predictions: Option<PathBuf>,
    /// Images to run the model on: files or folders, as for predict
    #[arg(short, long = "input", num_args = 1.., value_name = "PATH")]
    inputs: Vec<PathBuf>,
    /// The masks that are right, with the names of the predictions or images: a folder, or one file
    #[arg(short, long, value_name = "DIR")]
    references: PathBuf,
    /// The file for the scores, .json; a .csv with a row for each case and class goes beside it
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Class ids to score [default: the model's, else all that are found]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..), value_name = "ID[,ID]")]
    classes: Vec<u16>,
    /// Tolerance of the surface Dice (NSD) in mm, in pixels where masks have no spacing
    #[arg(long, default_value_t = 1.0, value_parser = parse_tolerance, allow_negative_numbers = true, value_name = "MM")]
    nsd_tolerance: f64,
    /// Score slices one by one, not the volumes that dataset.json says they are cut from
    #[arg(long)]
    per_slice: bool,
    /// Score only the slices that dataset.json marks so
    #[arg(long, value_enum)]
    split: Option<Split>,
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

/// Runs `unet3p evaluate`.
pub(crate) fn run(args: EvaluateArgs, global: &Global) -> Result<(), Failure> {
    let files = Files::new(&args.output, args.overwrite)?;
    let slices = Slices::beside(&args.references)?;
    let pairs = find_pairs(&args, slices.as_ref())?;
    let cases = cases::assemble(pairs, slices.as_ref(), args.per_slice)?;
    let mut predictor = match args.predictions {
        Some(_) => None,
        None => Some(Predictor::new(args.settings.open(global, &global.device.open()?)?)),
    };
    let known = match (&predictor, &args.predictions) {
        (Some(predictor), _) => predictor.labels(),
        (None, Some(folder)) => classes::named_in(folder, slices.as_ref()),
        (None, None) => Default::default(),
    };
    let classes = Classes::new(&args.classes, known, predictor.is_some());
    let rules = Rules::new(&classes, args.nsd_tolerance);

    let outcomes = score_all(&cases, &rules, predictor.as_mut());
    let failed = outcomes.iter().filter(|outcome| outcome.scored.is_err()).count();
    if failed == cases.len() {
        return Err(Failure::run(format!(
            "all {failed} cases failed, each is named above; nothing is written"
        )));
    }
    let ids = classes.scored(&outcomes)?;
    let totals = Totals::new(&outcomes, &ids);
    let model = predictor.is_some().then_some(args.settings.model.as_str());
    files.write(&outcomes, &totals, &classes, &rules, model)?;
    for line in table::lines(&totals, &classes) {
        report::result_line(line);
    }
    finish(cases.len(), failed, &files)
}

/// What is scored against what, without the slices of other splits.
fn find_pairs(args: &EvaluateArgs, slices: Option<&Slices>) -> Result<Vec<Pair>, Failure> {
    let mut predictions = match &args.predictions {
        Some(folder) => {
            pairs::masks(folder, true)?.into_iter().map(|(name, mask)| (name, (mask, None))).collect()
        }
        None => pairs::images(&args.inputs)?,
    };
    let mut references = pairs::masks(slices.map_or(args.references.as_path(), Slices::masks), false)?;
    if let Some(split) = args.split {
        let slices = slices.ok_or_else(|| {
            Failure::usage(format!(
                "{}: --split needs the dataset.json that `unet3p prepare` writes, in this folder or the one above",
                args.references.display()
            ))
        })?;
        let names: BTreeSet<&str> = slices.of_split(split).collect();
        predictions.retain(|name, _| names.contains(name.as_str()));
        references.retain(|name, _| names.contains(name.as_str()));
        if references.is_empty() {
            return Err(Failure::usage(format!(
                "{}: marks no slice in {} as {}; `unet3p prepare` marks those of --validation or --validate-on",
                slices.path().display(),
                slices.masks().display(),
                split.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
            )));
        }
    }
    pairs::pair(predictions, references)
}

/// Scores one case after the other; one that fails is named at once. Pairs of image files, of which there may be many
/// and which are small, are shared among threads; a volume or a model keeps all of them busy by itself.
fn score_all<'a>(
    cases: &'a [Case],
    rules: &Rules,
    mut predictor: Option<&mut Predictor>,
) -> Vec<Outcome<'a>> {
    let bar = report::bar(cases.len() as u64, "cases");
    let outcome = |case: &'a Case, mask: &mut dyn FnMut(&Pair) -> Result<Mask, mask::Error>| {
        bar.set_message(case.name.clone());
        let scored = score::score(case, rules, mask).map_err(|error| describe(&error));
        if let Err(error) = &scored {
            report::error(error);
        }
        bar.inc(1);
        Outcome { case, scored }
    };
    let mut read = |pair: &Pair| Mask::read(&pair.prediction, rules.white_is_one);
    let outcomes = match &mut predictor {
        Some(predictor) => cases.iter().map(|case| outcome(case, &mut |pair| predictor.mask(pair))).collect(),
        None if cases.iter().all(Case::is_one_image) => {
            cases.par_iter().map(|case| outcome(case, &mut read.clone())).collect()
        }
        None => cases.iter().map(|case| outcome(case, &mut read)).collect(),
    };
    bar.finish_and_clear();
    outcomes
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

/// A path as text, its unreadable characters replaced.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
