//! `unet3p evaluate`: scores of a model on a dataset, or of masks against masks.

mod args;
mod find;
mod job;
mod own_data;
mod progress;
mod run_folder;
mod table;

use unet3p::evaluate::{
    Classes, Files, MaskSource, Origin, Predictor, Reader, Rules, Slices, Totals, named_in, score_all,
    scored_classes,
};

use crate::args::Global;
use crate::failure::Failure;
use crate::report;
pub(crate) use args::EvaluateArgs;
use args::Split;
use find::Found;
use job::{Form, Job};
use progress::Bar;

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
        (None, Form::Masks { predictions, .. }) => named_in(predictions, slices.as_ref()),
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
        (Some(predictor), Some(dataset)) => MaskSource::Dataset(predictor, dataset),
    };

    let outcomes = {
        let bar = Bar::new(cases.len());
        score_all(&cases, &rules, &mut source, &bar)
    };
    let failed = outcomes.iter().filter(|outcome| outcome.scored.is_err()).count();
    if failed == cases.len() {
        return Err(Failure::run(format!(
            "all {failed} cases failed, each is named above; nothing is written"
        )));
    }
    let ids = scored_classes(&classes, &outcomes, ignore)?;
    let totals = Totals::new(&outcomes, &ids);
    let model = predictor.is_some().then(|| args.settings.model());
    let split = split.map(Split::name);
    let origin = Origin { model, split, missing, warnings: report::warnings() };
    files.write(&outcomes, &totals, &rules, &origin)?;
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
