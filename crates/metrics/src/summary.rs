//! A metric over many cases.

use crate::Bootstrap;

/// The mean of a metric over cases, and what is left out of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The mean over the cases with a finite value; `None` where there is none.
    pub mean: Option<f64>,
    /// The mean's bootstrap confidence interval; `None` with fewer than two cases.
    pub interval: Option<[f64; 2]>,
    /// Cases with a finite value.
    pub finite: usize,
    /// Cases for which the metric is undefined: left out of the mean.
    pub undefined: usize,
    /// Cases for which it is infinite, of a class that only one mask holds: left out of the mean, which would be
    /// infinite as well.
    pub infinite: usize,
}

impl Summary {
    /// Summarises the values of one class, a value for each case.
    ///
    /// ```
    /// use unet3p_metrics::{Bootstrap, Summary};
    /// let hd95 = [Some(3.0), None, Some(f64::INFINITY), Some(5.0)];
    /// let summary = Summary::of_cases(&hd95, &Bootstrap::default());
    /// assert_eq!(summary.mean, Some(4.0));
    /// assert_eq!((summary.finite, summary.undefined, summary.infinite), (2, 1, 1));
    /// ```
    pub fn of_cases(values: &[Option<f64>], bootstrap: &Bootstrap) -> Self {
        Self::of_classes(&[values], bootstrap)
    }

    /// Summarises the values of several classes, each with a value for each case (of the same cases in the same
    /// order): the mean of the classes' means. Cases are counted once for each class.
    pub fn of_classes(classes: &[&[Option<f64>]], bootstrap: &Bootstrap) -> Self {
        let cases = classes.iter().map(|values| values.len()).min().unwrap_or(0);
        let all: Vec<usize> = (0..cases).collect();
        let count = |is: fn(&Option<f64>) -> bool| {
            classes.iter().map(|values| values[..cases].iter().filter(|value| is(value)).count()).sum()
        };
        let finite = count(|value| value.is_some_and(f64::is_finite));
        let mean_of = |cases: &[usize]| mean(classes.iter().filter_map(|values| mean_over(values, cases)));
        Self {
            mean: mean_of(&all),
            // With a single value every sample that has one has the same mean.
            interval: bootstrap.interval(cases, mean_of).filter(|_| finite > 1),
            finite,
            undefined: count(|value| value.is_none_or(f64::is_nan)),
            infinite: count(|value| value.is_some_and(f64::is_infinite)),
        }
    }
}

/// The mean of the finite values among `cases`.
fn mean_over(values: &[Option<f64>], cases: &[usize]) -> Option<f64> {
    mean(cases.iter().filter_map(|&case| values[case].filter(|value| value.is_finite())))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_weigh_the_same_however_many_cases_hold_them() {
        let a = [Some(0.5), Some(0.7), Some(0.9)];
        let b = [None, Some(0.1), None];
        let never = [None; 3];
        let summary = Summary::of_classes(&[&a, &b, &never], &Bootstrap::default());
        assert!((summary.mean.unwrap() - 0.4).abs() < 1e-12);
        assert_eq!((summary.finite, summary.undefined, summary.infinite), (4, 5, 0));
        let [low, high] = summary.interval.unwrap();
        assert!(low < 0.4 && high > 0.4);
    }

    #[test]
    fn without_values_there_is_no_mean_and_with_one_no_interval() {
        let bootstrap = Bootstrap::default();
        let summary = Summary::of_cases(&[None, Some(f64::INFINITY)], &bootstrap);
        assert_eq!((summary.mean, summary.interval), (None, None));
        assert_eq!((summary.finite, summary.undefined, summary.infinite), (0, 1, 1));
        let summary = Summary::of_cases(&[Some(0.8), None], &bootstrap);
        assert_eq!((summary.mean, summary.interval), (Some(0.8), None));
        assert_eq!(Summary::of_classes(&[], &bootstrap).mean, None);
    }
}
