//! Scores over all cases.

use std::collections::BTreeMap;

use unet3p_metrics::{Bootstrap, Metric, Scores, Summary};

use super::outcome::Outcome;

/// A number of samples.
type Count = fn(&Scores) -> u64;

/// How many samples of a class there are of each kind, by the name that it has in files.
pub(super) const COUNTS: [(&str, Count); 6] = [
    ("TP", |scores| scores.counts.true_positives),
    ("FP", |scores| scores.counts.false_positives),
    ("FN", |scores| scores.counts.false_negatives),
    ("TN", |scores| scores.counts.true_negatives),
    ("n_pred", |scores| scores.counts.predicted()),
    ("n_ref", |scores| scores.counts.reference()),
];

/// The metrics of a class, or of all.
#[derive(Debug)]
pub struct Total {
    /// The metrics with their means and intervals.
    pub metrics: Vec<(Metric, Summary)>,
    /// The mean over the cases of true positives, false positives, false negatives, true negatives, predicted and
    /// reference samples.
    pub counts: Vec<f64>,
}

/// The metrics of every class and of all classes together.
#[derive(Debug)]
pub struct Totals {
    /// Cases with scores.
    pub cases: usize,
    /// The metrics of each class.
    pub classes: BTreeMap<u16, Total>,
    /// The mean of the classes' means.
    pub foreground: Total,
}

impl Totals {
    /// Of the classes `ids`.
    pub fn new(outcomes: &[Outcome<'_>], ids: &[u16]) -> Self {
        let scored: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.scored.as_ref().ok()).collect();
        let by_class: Vec<Vec<Scores>> =
            ids.iter().map(|&id| scored.iter().map(|scored| scored.of(id)).collect()).collect();
        let each = by_class.iter().map(|scores| Total::new(&[scores]));
        let foreground = Total::new(&by_class.iter().map(Vec::as_slice).collect::<Vec<_>>());
        Self { cases: scored.len(), classes: ids.iter().copied().zip(each).collect(), foreground }
    }
}

impl Total {
    /// Of classes, each with its scores in all cases.
    fn new(classes: &[&[Scores]]) -> Self {
        let bootstrap = Bootstrap::default();
        let summary = |metric: Metric| {
            let values: Vec<Vec<Option<f64>>> = classes
                .iter()
                .map(|scores| scores.iter().map(|scores| scores.get(metric)).collect())
                .collect();
            Summary::of_classes(&values.iter().map(Vec::as_slice).collect::<Vec<_>>(), &bootstrap)
        };
        let all: Vec<&Scores> = classes.iter().copied().flatten().collect();
        let mean = |count: Count| {
            all.iter().map(|scores| count(scores) as f64).sum::<f64>() / all.len().max(1) as f64
        };
        Self {
            metrics: Metric::ALL.map(|metric| (metric, summary(metric))).to_vec(),
            counts: COUNTS.map(|(_, count)| mean(count)).to_vec(),
        }
    }
}
