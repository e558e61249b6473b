//! The area under the receiver operating characteristic.

/// The area under the ROC curve of `scores` for `labels` (true: positive): the probability that a positive has a higher
/// score than a negative, ties counting half (the Mann-Whitney statistic U / (positives negatives)).
///
/// `None` where it is undefined: without a positive or without a negative, with a score that is not a number, or with
/// another number of labels than of scores.
///
/// ```
/// use unet3p_metrics::roc_auc;
/// assert_eq!(roc_auc(&[0.9, 0.4, 0.4, 0.1], &[true, true, false, false]), Some(0.875));
/// assert_eq!(roc_auc(&[0.9, 0.4], &[true, true]), None);
/// ```
pub fn roc_auc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    if scores.len() != labels.len() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Pairs in which the positive wins, counted twice so that ties count once.
    let (mut wins, mut negatives, mut positives) = (0u128, 0u128, 0u128);
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let positive = tied.iter().filter(|(_, label)| *label).count() as u128;
        let negative = tied.len() as u128 - positive;
        wins += positive * (2 * negatives + negative);
        negatives += negative;
        positives += positive;
    }
    let pairs = positives * negatives;
    (pairs > 0).then(|| wins as f64 / (2 * pairs) as f64)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn it_is_the_share_of_pairs_that_are_in_order() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        for _ in 0..200 {
            let count = random.random_range(0..12);
            // Few different scores, so that there are ties; 0 and -0 are one.
            let scores: Vec<f64> = (0..count)
                .map(|_| [-0.0, 0.0, 0.25, 1.0, f64::INFINITY][random.random_range(0..5)])
                .collect();
            let labels: Vec<bool> = (0..count).map(|_| random.random()).collect();
            let (mut sum, mut pairs) = (0.0, 0);
            for i in (0..count).filter(|&i| labels[i]) {
                for j in (0..count).filter(|&j| !labels[j]) {
                    sum += if scores[i] > scores[j] { 1.0 } else { f64::from(scores[i] == scores[j]) / 2.0 };
                    pairs += 1;
                }
            }
            let expected = (pairs > 0).then(|| sum / f64::from(pairs));
            assert_eq!(roc_auc(&scores, &labels), expected, "{scores:?} {labels:?}");
        }
    }

    #[test]
    fn it_is_undefined_without_both_classes_or_with_scores_that_are_none() {
        assert_eq!(roc_auc(&[], &[]), None);
        assert_eq!(roc_auc(&[0.1, 0.2], &[false, false]), None);
        assert_eq!(roc_auc(&[f64::NAN, 0.2], &[true, false]), None);
        assert_eq!(roc_auc(&[0.1], &[true, false]), None);
    }
}
