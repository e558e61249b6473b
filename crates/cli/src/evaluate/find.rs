//! Which files are scored against which, where they are not a training run's own.

use std::collections::BTreeSet;
use std::path::Path;

use unet3p::evaluate::{Case, Paired, Slices, assemble, check_distinct, images, masks, pair, warn_of_same};
use unet3p::plan::layout;

use super::args::EvaluateArgs;
use super::job::{Form, Job};
use crate::failure::Failure;

/// What is scored.
pub(super) struct Found {
    pub(super) cases: Vec<Case>,
    /// References without a prediction.
    pub(super) missing: Vec<String>,
}

/// Pairs masks or images with references, without the slices of other splits.
///
/// # Errors
/// Wrong usage: files that cannot be read or paired, or a split that no index tells.
pub(super) fn cases(
    args: &EvaluateArgs,
    job: &Job,
    references: &Path,
    slices: Option<&Slices>,
) -> Result<Found, Failure> {
    let mut predictions = match &job.form {
        Form::Masks { predictions, .. } => {
            masks(predictions, true)?.into_iter().map(|(name, mask)| (name, (mask, None))).collect()
        }
        _ => images(&args.inputs)?,
    };
    let folder = slices.map_or_else(|| layout::masks(references), |slices| slices.masks().to_path_buf());
    let mut references_by_name = masks(&folder, false)?;
    if let Some(split) = args.split {
        let slices = slices.ok_or_else(|| {
            Failure::usage(format!(
                "{}: --split needs the dataset.json that `unet3p prepare` writes, in this folder or the one above",
                references.display()
            ))
        })?;
        let names: BTreeSet<&str> = slices.of_split(split.into()).collect();
        predictions.retain(|name, _| names.contains(name.as_str()));
        references_by_name.retain(|name, _| names.contains(name.as_str()));
        if references_by_name.is_empty() {
            return Err(Failure::usage(format!(
                "{}: marks no slice in {} as {}; `unet3p prepare` marks those of --validation or --validate-on",
                slices.path().display(),
                slices.masks().display(),
                split.name()
            )));
        }
    }
    let is_predicted = args.predictions.is_none();
    let Paired { pairs, missing } = pair(predictions, references_by_name, is_predicted, args.allow_missing)?;
    match &job.form {
        Form::Masks { .. } => warn_of_same(&pairs),
        _ => check_distinct(&pairs)?,
    }
    if let Form::Images { run: Some(run), .. } = &job.form {
        run.warn_of_own(pairs.iter().map(|pair| pair.prediction.path.as_path()));
    }
    Ok(Found { cases: assemble(pairs, slices, args.per_slice)?, missing })
}
