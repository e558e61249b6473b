//! The work on all cases: each is scored, or named with what is wrong with it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use unet3p_data::SliceDataset;

use super::cases::Case;
use super::mask::{Error, Masks, Reader};
use super::outcome::Outcome;
use super::pairs::Pair;
use super::predictor::Predictor;
use super::score::{self, Rules, Scored};
use crate::failure::{caught, describe};
use crate::report;

/// Where the masks of a pair come from.
pub(super) enum MaskSource<'a> {
    Files(&'a Reader),
    Model(&'a mut Predictor, &'a Reader),
    Run(&'a Predictor, &'a SliceDataset),
}

/// Scores one case after the other; one that fails, or panics, is named at once. Pairs of image files, of which there may
/// be many and which are small, are shared among threads; a volume or a model keeps all of them busy by itself.
pub(super) fn score_all<'a>(
    cases: &'a [Case],
    rules: &Rules<'_>,
    source: &mut MaskSource<'_>,
) -> Vec<Outcome<'a>> {
    let bar = report::bar(cases.len() as u64, "cases");
    let said = Mutex::new(BTreeSet::new());
    let outcome = |case: &'a Case, masks: &mut dyn FnMut(&Pair) -> Result<Masks, Error>| {
        bar.set_message(case.name.clone());
        let scored = caught(Path::new(&case.name), || score::score(case, rules, masks));
        let scored = match scored {
            Some(scored) => scored.map_err(|error| describe(&error)),
            None => Err(format!(
                "{}: the program stopped at this case, which is a fault of the program; please report it with the files",
                case.name
            )),
        };
        match &scored {
            Ok(scored) => say_new(case, scored, &said, cases.len()),
            Err(error) => report::error(error),
        }
        bar.inc(1);
        Outcome { case, scored }
    };
    let outcomes = match source {
        MaskSource::Model(predictor, reader) => {
            cases.iter().map(|case| outcome(case, &mut |pair| predictor.against(reader, pair))).collect()
        }
        MaskSource::Run(predictor, dataset) => {
            cases.iter().map(|case| outcome(case, &mut |pair| predictor.of_sample(dataset, pair))).collect()
        }
        MaskSource::Files(reader) if cases.iter().all(Case::is_one_image) => {
            cases.par_iter().map(|case| outcome(case, &mut |pair| reader.both(pair))).collect()
        }
        MaskSource::Files(reader) => {
            cases.iter().map(|case| outcome(case, &mut |pair| reader.both(pair))).collect()
        }
    };
    bar.finish_and_clear();
    outcomes
}

/// Says the warnings of a case that no case before it had; the scores name them all.
fn say_new(case: &Case, scored: &Scored, said: &Mutex<BTreeSet<String>>, cases: usize) {
    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let others = if cases > 1 { " (said once, also of further cases)" } else { "" };
    for warning in &scored.warnings {
        if said.insert(warning.clone()) {
            report::warning(&case.name, &format!("{warning}{others}"));
        }
    }
}
