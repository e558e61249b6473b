//! Which classes there are scores of.

use std::collections::{BTreeMap, BTreeSet};

use unet3p_metrics::Scores;

use super::classes::Classes;
use super::error::EvaluateError;
use super::outcome::Outcome;

/// The ids of the classes that are scored, in order, without the value that is left out. Warns of others that references
/// hold.
///
/// # Errors
/// [`EvaluateError::NoClass`] when there is none: nothing but background, and no class asked for.
pub fn scored_classes(
    classes: &Classes,
    outcomes: &[Outcome<'_>],
    ignore: Option<u16>,
) -> Result<Vec<u16>, EvaluateError> {
    let scored = || outcomes.iter().filter_map(|outcome| outcome.scored.as_ref().ok());
    let ignored: BTreeSet<u16> = scored().flat_map(|scored| &scored.ignored).copied().collect();
    if !ignored.is_empty() {
        let ids: Vec<String> = ignored.iter().map(u16::to_string).collect();
        log::warn!("the references hold class ids that are not scored: {}", ids.join(", "));
    }
    warn_of_nothing_in_common(scored().map(|scored| &scored.scores), ignore);
    let ids: Vec<u16> = match classes.wanted() {
        Some(wanted) => wanted.iter().copied().collect(),
        None => {
            let found = scored().flat_map(|scored| scored.scores.keys());
            found.chain(classes.names().keys()).copied().collect::<BTreeSet<_>>().into_iter().collect()
        }
    };
    let ids: Vec<u16> = ids.into_iter().filter(|&id| ignore != Some(id)).collect();
    if ids.is_empty() {
        return Err(EvaluateError::NoClass);
    }
    Ok(ids)
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
