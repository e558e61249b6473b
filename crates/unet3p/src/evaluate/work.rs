//! The work on all cases: each is scored, or named with what is wrong with it.

use std::path::Path;

use rayon::prelude::*;
use unet3p_data::{SliceDataset, guard};

use super::cases::Case;
use super::mask::{CaseError, Masks, Reader};
use super::outcome::Outcome;
use super::pairs::Pair;
use super::predictor::Predictor;
use super::progress::Progress;
use super::score::{self, Rules};

/// Where the masks of a pair come from.
pub enum MaskSource<'a> {
    /// Both are files.
    Files(&'a Reader),
    /// A model makes the prediction of an image file.
    Model(&'a mut Predictor, &'a Reader),
    /// A model makes the prediction of a slice of a dataset, at the size that the network sees.
    Dataset(&'a Predictor, &'a SliceDataset),
}

/// Scores one case after the other; one that fails, or panics, keeps no other from being scored. Pairs of image files, of
/// which there may be many and which are small, are shared among threads; a volume or a model keeps all of them busy by
/// itself.
pub fn score_all<'a>(
    cases: &'a [Case],
    rules: &Rules<'_>,
    source: &mut MaskSource<'_>,
    progress: &dyn Progress,
) -> Vec<Outcome<'a>> {
    let outcome = |case: &'a Case, masks: &mut dyn FnMut(&Pair) -> Result<Masks, CaseError>| {
        progress.begins(case);
        let name = Path::new(&case.name);
        let scored = guard(name, || Ok::<_, unet3p_data::Error>(score::score(case, rules, masks)));
        let scored = scored.unwrap_or_else(|_| Err(CaseError::Stopped { case: case.name.clone() }));
        let outcome = Outcome { case, scored };
        progress.ends(&outcome);
        outcome
    };
    match source {
        MaskSource::Model(predictor, reader) => cases
            .iter()
            .map(|case| outcome(case, &mut |pair| predictor.against(reader, pair, progress)))
            .collect(),
        MaskSource::Dataset(predictor, dataset) => {
            cases.iter().map(|case| outcome(case, &mut |pair| predictor.of_sample(dataset, pair))).collect()
        }
        MaskSource::Files(reader) if cases.iter().all(Case::is_one_image) => {
            cases.par_iter().map(|case| outcome(case, &mut |pair| reader.both(pair))).collect()
        }
        MaskSource::Files(reader) => {
            cases.iter().map(|case| outcome(case, &mut |pair| reader.both(pair))).collect()
        }
    }
}
