//! Percentiles.

/// The `q`-th percentile, interpolated linearly between neighbours, as NumPy's `percentile` does by default: of n sorted
/// values that at position q / 100 (n - 1). `None` without values or with `q` outside 0 to 100.
///
/// ```
/// use unet3p_metrics::percentile;
/// assert_eq!(percentile(&[4.0, 1.0, 2.0, 3.0], 50.0), Some(2.5));
/// assert_eq!(percentile(&[], 50.0), None);
/// ```
pub fn percentile(values: &[f64], q: f64) -> Option<f64> {
    if values.is_empty() || !(0.0..=100.0).contains(&q) {
        return None;
    }
    let position = q / 100.0 * (values.len() - 1) as f64;
    let below = position.floor() as usize;
    let share = position - position.floor();
    let mut values = values.to_vec();
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    if low == high || share == 0.0 {
        return Some(low);
    }
    // Differences of infinities are no numbers.
    if low.is_infinite() || high.is_infinite() {
        return Some(if low.is_infinite() { low } else { high });
    }
    // From the nearer side, as NumPy does.
    let step = high - low;
    Some(if share < 0.5 { low + step * share } else { high - step * (1.0 - share) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_numpys() {
        let values = [3.0, -1.0, 10.0, 7.0, 7.0];
        // numpy.percentile of the same
        for (q, expected) in [(0.0, -1.0), (25.0, 3.0), (40.0, 5.4), (95.0, 9.4), (100.0, 10.0)] {
            let found = percentile(&values, q).unwrap();
            assert!((found - expected).abs() < 1e-12, "{q}: {found}");
        }
        assert_eq!(percentile(&[2.0], 95.0), Some(2.0));
    }

    #[test]
    fn what_is_not_there_has_no_percentile() {
        assert_eq!(percentile(&[], 5.0), None);
        for q in [-1.0, 100.5, f64::NAN] {
            assert_eq!(percentile(&[1.0], q), None);
        }
    }

    #[test]
    fn infinite_values_stay_infinite() {
        let infinite = f64::INFINITY;
        assert_eq!(percentile(&[infinite; 3], 95.0), Some(infinite));
        assert_eq!(percentile(&[0.0, 1.0, infinite], 25.0), Some(0.5));
        assert_eq!(percentile(&[0.0, 1.0, infinite], 75.0), Some(infinite));
    }
}
