//! Which classes are scored, and what they are called.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use unet3p_metrics::Scores;

use super::record::Outcome;
use super::slices::Slices;
use crate::failure::Failure;
use crate::predict::{RECORD, read_record, record_beside};

/// The classes of an evaluation.
#[derive(Debug)]
pub(super) struct Classes {
    /// Those that are asked for, or that the model has; else all that are found are scored.
    wanted: Option<BTreeSet<u16>>,
    names: BTreeMap<u16, String>,
}

impl Classes {
    /// The classes `asked` for, else the `known` ones where these are `all` there are, else whatever is found.
    pub(super) fn new(asked: &[u16], known: BTreeMap<u16, String>, all: bool) -> Self {
        let wanted = match asked {
            [] => all.then(|| known.keys().copied().collect()),
            asked => Some(asked.iter().copied().collect()),
        };
        Self { wanted, names: known }
    }

    /// Whether an image of 0 and 255 alone can be a mask of the one class there is.
    pub(super) fn may_be_binary(&self) -> bool {
        self.wanted.as_ref().map_or(self.names.len() <= 1, |wanted| wanted.iter().eq([&1]))
    }

    /// Whether a class is scored.
    pub(super) fn wants(&self, class: u16) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&class))
    }

    /// The name of a class, where it is known.
    pub(super) fn name(&self, class: u16) -> Option<&str> {
        self.names.get(&class).map(String::as_str)
    }

    /// Names of the classes.
    pub(super) fn names(&self) -> &BTreeMap<u16, String> {
        &self.names
    }

    /// The ids of the classes that are scored, in order, without the value that is left out. Warns of others that references
    /// hold.
    ///
    /// # Errors
    /// A failed run when there is none: nothing but background, and no class asked for.
    pub(super) fn scored(&self, outcomes: &[Outcome<'_>], ignore: Option<u16>) -> Result<Vec<u16>, Failure> {
        let scored = || outcomes.iter().filter_map(|outcome| outcome.scored.as_ref().ok());
        let ignored: BTreeSet<u16> = scored().flat_map(|scored| &scored.ignored).copied().collect();
        if !ignored.is_empty() {
            let ids: Vec<String> = ignored.iter().map(u16::to_string).collect();
            log::warn!("the references hold class ids that are not scored: {}", ids.join(", "));
        }
        warn_of_nothing_in_common(scored().map(|scored| &scored.scores), ignore);
        let ids: Vec<u16> = match &self.wanted {
            Some(wanted) => wanted.iter().copied().collect(),
            None => {
                let found = scored().flat_map(|scored| scored.scores.keys());
                found.chain(self.names.keys()).copied().collect::<BTreeSet<_>>().into_iter().collect()
            }
        };
        let ids: Vec<u16> = ids.into_iter().filter(|&id| ignore != Some(id)).collect();
        if ids.is_empty() {
            return Err(Failure::run(
                "all masks are empty, so that there is no class to score; name the classes: --classes 1",
            ));
        }
        Ok(ids)
    }
}

/// Warns where references hold no class at all beside what is left out, or none that predictions hold: scores of 0 then tell
/// of other ids, not of a bad model.
fn warn_of_nothing_in_common<'a>(
    scores: impl Iterator<Item = &'a BTreeMap<u16, Scores>>,
    ignore: Option<u16>,
) {
    let (mut predicted, mut referred) = (BTreeSet::new(), BTreeSet::new());
    for (&class, Scores { counts, .. }) in scores.flatten() {
        predicted.extend((counts.true_positives + counts.false_positives > 0).then_some(class));
        referred.extend((counts.true_positives + counts.false_negatives > 0).then_some(class));
    }
    let list = |ids: &BTreeSet<u16>| ids.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    if referred.is_empty() {
        if let Some(id) = ignore {
            log::warn!(
                "the references hold no class beside {id}, which is left out: nothing remains to be found"
            );
        }
    } else if !predicted.is_empty() && predicted.is_disjoint(&referred) {
        log::warn!(
            "predictions hold the class ids {}, references {}: none is in both, so that every score is 0; give both the \
             same ids",
            list(&predicted),
            list(&referred)
        );
    }
}

/// Names of classes as the record beside predictions tells them, else as the index of the references does; none where
/// neither can be read.
pub(super) fn named_in(predictions: &Path, slices: Option<&Slices>) -> BTreeMap<u16, String> {
    #[derive(Deserialize)]
    struct Record {
        labels: BTreeMap<u16, String>,
    }
    let record = if predictions.is_dir() { predictions.join(RECORD) } else { record_beside(predictions) };
    match read_record::<Record>(&record) {
        Ok(record) => record.labels,
        Err(_) => (1..).zip(slices.into_iter().flat_map(Slices::class_names).map(str::to_string)).collect(),
    }
}
