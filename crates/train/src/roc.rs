//! The area under the receiver operating characteristic.

/// The probability that a positive has the higher score than a negative, where equal scores count half: the area under
/// the ROC curve, by the ranks of Mann and Whitney. `None` where one of the two kinds is missing.
pub(crate) fn roc_auc(scored: &[(f32, bool)]) -> Option<f64> {
    let positives = scored.iter().filter(|(_, positive)| *positive).count();
    let negatives = scored.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let mut sorted = scored.to_vec();
    sorted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    // Pairs in which the positive is the higher; a tie is half of one.
    let (mut pairs, mut below) = (0.0, 0usize);
    for ties in sorted.chunk_by(|(a, _), (b, _)| a == b) {
        let positive = ties.iter().filter(|(_, positive)| *positive).count();
        let negative = ties.len() - positive;
        pairs += positive as f64 * (below as f64 + 0.5 * negative as f64);
        below += negative;
    }
    Some(pairs / (positives as f64 * negatives as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_in_the_right_order() {
        let area = |scored: &[(f32, bool)]| roc_auc(scored);
        assert_eq!(area(&[(0.1, false), (0.9, true), (0.2, false)]), Some(1.0));
        assert_eq!(area(&[(0.9, false), (0.1, true)]), Some(0.0));
        // Of six pairs three are right, and two are ties.
        let scored = [(0.5, true), (0.5, false), (0.7, true), (0.2, false), (0.7, false)];
        assert_eq!(area(&scored), Some((3.0 + 0.5 * 2.0) / 6.0));
        assert_eq!(area(&[(0.3, true), (0.4, true)]), None);
        assert_eq!(area(&[]), None);
    }
}
