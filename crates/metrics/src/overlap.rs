//! Ratios of counts. What divides by nothing is undefined, `None`.

use crate::Counts;

impl Counts {
    /// Dice coefficient, 2 TP / (2 TP + FP + FN); 0 where only one of the two holds the class, undefined where
    /// neither does.
    pub fn dice(&self) -> Option<f64> {
        ratio(2 * self.true_positives, self.predicted() + self.reference())
    }

    /// Intersection over union (Jaccard index), TP / (TP + FP + FN); undefined where neither holds the class.
    pub fn iou(&self) -> Option<f64> {
        ratio(self.true_positives, self.predicted() + self.false_negatives)
    }

    /// Precision (positive predictive value), TP / (TP + FP); undefined where nothing is predicted.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.predicted())
    }

    /// Recall (sensitivity), TP / (TP + FN); undefined where the reference does not hold the class.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positives, self.reference())
    }

    /// Specificity, TN / (TN + FP); undefined where the reference is nothing but the class.
    pub fn specificity(&self) -> Option<f64> {
        ratio(self.true_negatives, self.true_negatives + self.false_positives)
    }

    /// Relative volume difference with its sign, (predicted - reference) / reference: above 0 where too much is
    /// predicted, infinite where the reference does not hold the class and the prediction does, undefined where
    /// neither does.
    pub fn relative_volume_difference(&self) -> Option<f64> {
        match (self.predicted(), self.reference()) {
            (0, 0) => None,
            (predicted, referred) => Some((predicted as f64 - referred as f64) / referred as f64),
        }
    }
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use crate::Counts;

    #[test]
    fn ratios_are_those_of_the_counts() {
        let counts = Counts { true_positives: 6, false_positives: 2, false_negatives: 4, true_negatives: 18 };
        assert_eq!(counts.dice(), Some(12.0 / 18.0));
        assert_eq!(counts.iou(), Some(6.0 / 12.0));
        assert_eq!(counts.precision(), Some(6.0 / 8.0));
        assert_eq!(counts.recall(), Some(6.0 / 10.0));
        assert_eq!(counts.specificity(), Some(18.0 / 20.0));
        assert_eq!(counts.relative_volume_difference(), Some(-0.2));
        assert_eq!((counts.predicted(), counts.reference(), counts.total()), (8, 10, 30));
    }

    #[test]
    fn empty_masks_have_no_ratio_and_one_sided_ones_the_worst() {
        let none = Counts { true_negatives: 9, ..Counts::default() };
        assert_eq!((none.dice(), none.iou(), none.precision(), none.recall()), (None, None, None, None));
        assert_eq!(none.relative_volume_difference(), None);
        assert_eq!(none.specificity(), Some(1.0));

        let invented = Counts { false_positives: 2, true_negatives: 7, ..Counts::default() };
        assert_eq!((invented.dice(), invented.iou()), (Some(0.0), Some(0.0)));
        assert_eq!((invented.precision(), invented.recall()), (Some(0.0), None));
        assert_eq!(invented.relative_volume_difference(), Some(f64::INFINITY));

        let missed = Counts { false_negatives: 2, true_negatives: 7, ..Counts::default() };
        assert_eq!((missed.dice(), missed.iou()), (Some(0.0), Some(0.0)));
        assert_eq!((missed.precision(), missed.recall()), (None, Some(0.0)));
        assert_eq!(missed.relative_volume_difference(), Some(-1.0));

        let everything = Counts { true_positives: 9, ..Counts::default() };
        assert_eq!(everything.specificity(), None);
    }
}
