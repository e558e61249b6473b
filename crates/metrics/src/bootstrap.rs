//! Confidence intervals by resampling cases.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::percentile;

/// The percentile bootstrap (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13): a statistic is
/// computed on many samples of the cases, drawn with replacement, and its interval runs between two percentiles of
/// what came out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// Number of samples.
    pub resamples: u32,
    /// The share of them inside the interval, between 0 and 1.
    pub confidence: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 1000 samples, 95 %, seed 0.
    fn default() -> Self {
        Self { resamples: 1000, confidence: 0.95, seed: 0 }
    }
}

impl Bootstrap {
    /// The interval of a statistic over `cases` cases. `statistic` gets the indices of a sample's cases; a sample for
    /// which it is undefined is left out. `None` with fewer than two cases, or where every sample is left out.
    ///
    /// The draws depend on the seed and the number of cases alone, not on threads: statistics of the same cases are
    /// computed on the same samples.
    ///
    /// ```
    /// use unet3p_metrics::Bootstrap;
    /// let values = [0.91, 0.88, 0.95, 0.79, 0.90];
    /// let mean = |cases: &[usize]| Some(cases.iter().map(|&i| values[i]).sum::<f64>() / cases.len() as f64);
    /// let [low, high] = Bootstrap::default().interval(values.len(), mean).unwrap();
    /// assert!(0.79 < low && low < 0.886 && 0.886 < high && high < 0.95);
    /// ```
    pub fn interval(
        &self,
        cases: usize,
        statistic: impl Fn(&[usize]) -> Option<f64> + Sync,
    ) -> Option<[f64; 2]> {
        if cases < 2 {
            return None;
        }
        let results: Vec<f64> = (0..self.resamples)
            .into_par_iter()
            .filter_map(|sample| {
                let mut random = ChaCha8Rng::seed_from_u64(self.seed);
                random.set_stream(u64::from(sample));
                let drawn: Vec<usize> = (0..cases).map(|_| random.random_range(0..cases)).collect();
                statistic(&drawn)
            })
            .collect();
        let tail = 50.0 * (1.0 - self.confidence);
        Some([percentile(&results, tail)?, percentile(&results, 100.0 - tail)?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean<'a>(values: &'a [f64]) -> impl Fn(&[usize]) -> Option<f64> + Sync + 'a {
        |cases| Some(cases.iter().map(|&i| values[i]).sum::<f64>() / cases.len() as f64)
    }

    #[test]
    fn the_interval_of_a_mean_is_about_two_standard_errors_wide_on_each_side() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 20)).collect();
        let [low, high] = Bootstrap::default().interval(values.len(), mean(&values)).unwrap();
        // Uniform on 0 to 19: standard deviation sqrt((20^2 - 1) / 12), of the mean a twentieth of that.
        let expected = 1.96 * (399.0f64 / 12.0).sqrt() / 20.0;
        assert!((9.5 - low - expected).abs() < 0.1 * expected, "{low}");
        assert!((high - 9.5 - expected).abs() < 0.1 * expected, "{high}");
    }

    #[test]
    fn draws_follow_the_seed_and_not_the_threads() {
        let values = [1.0, 5.0, 2.0, 8.0];
        let interval = |bootstrap: Bootstrap| bootstrap.interval(values.len(), mean(&values));
        let expected = interval(Bootstrap::default());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(|| interval(Bootstrap::default())), expected);
        let other = Bootstrap { seed: 1, resamples: 37, ..Bootstrap::default() };
        assert_ne!(interval(other), expected);
    }

    #[test]
    fn too_few_cases_and_undefined_statistics_have_none() {
        let bootstrap = Bootstrap::default();
        assert_eq!(bootstrap.interval(0, |_| Some(1.0)), None);
        assert_eq!(bootstrap.interval(1, |_| Some(1.0)), None);
        assert_eq!(bootstrap.interval(5, |_| None), None);
        assert_eq!(bootstrap.interval(2, |_| Some(1.0)), Some([1.0, 1.0]));
    }
}
