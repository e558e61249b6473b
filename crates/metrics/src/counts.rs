//! How many samples are right and wrong.

use rayon::prelude::*;

use crate::{Labels, Result};

/// Ids compared at a time: long enough to be worth a task, short enough to share among threads.
const CHUNK: usize = 1 << 16;

/// The confusion matrix of one class against everything else, in pixels or voxels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// True positives: of the class in both.
    pub true_positives: u64,
    /// False positives: of the class in the prediction alone.
    pub false_positives: u64,
    /// False negatives: of the class in the reference alone.
    pub false_negatives: u64,
    /// True negatives: of the class in neither.
    pub true_negatives: u64,
}

impl Counts {
    /// Counts the class `class`.
    ///
    /// # Errors
    /// [`Error::Grids`](crate::Error::Grids) when the two differ in shape or spacing.
    ///
    /// ```
    /// use unet3p_metrics::{Counts, Labels};
    /// let prediction = Labels::new(&[1u8, 1, 0, 2], &[2, 2], &[1.0, 1.0])?;
    /// let reference = Labels::new(&[1u8, 0, 1, 2], &[2, 2], &[1.0, 1.0])?;
    /// let counts = Counts::of_class(&prediction, &reference, 1)?;
    /// assert_eq!((counts.true_positives, counts.false_positives), (1, 1));
    /// assert_eq!((counts.predicted(), counts.reference(), counts.total()), (2, 2, 4));
    /// assert_eq!(counts.dice(), Some(0.5));
    /// # Ok::<(), unet3p_metrics::Error>(())
    /// ```
    pub fn of_class<T: Copy + PartialEq + Sync>(
        prediction: &Labels<'_, T>,
        reference: &Labels<'_, T>,
        class: T,
    ) -> Result<Self> {
        prediction.check_same_grid(reference)?;
        Ok(Self::of_ids(prediction.ids(), reference.ids(), class))
    }

    /// Counts the class in two slices of the same length; what a longer one has beyond the other is ignored. Counts
    /// of the parts of an image add up with [`Counts::add`](std::ops::Add::add).
    pub fn of_ids<T: Copy + PartialEq + Sync>(prediction: &[T], reference: &[T], class: T) -> Self {
        let total = prediction.len().min(reference.len()) as u64;
        let (both, predicted, referred) = prediction
            .par_chunks(CHUNK)
            .zip(reference.par_chunks(CHUNK))
            .map(|(prediction, reference)| {
                // Three sums without branches, which the compiler turns into vector instructions.
                let (mut both, mut predicted, mut referred) = (0u32, 0u32, 0u32);
                for (&p, &r) in prediction.iter().zip(reference) {
                    let (p, r) = (p == class, r == class);
                    both += u32::from(p & r);
                    predicted += u32::from(p);
                    referred += u32::from(r);
                }
                (u64::from(both), u64::from(predicted), u64::from(referred))
            })
            .reduce(|| (0, 0, 0), |a, b| (a.0 + b.0, a.1 + b.1, a.2 + b.2));
        Self {
            true_positives: both,
            false_positives: predicted - both,
            false_negatives: referred - both,
            true_negatives: total + both - predicted - referred,
        }
    }

    /// Samples of the class in the prediction.
    pub fn predicted(&self) -> u64 {
        self.true_positives + self.false_positives
    }

    /// Samples of the class in the reference.
    pub fn reference(&self) -> u64 {
        self.true_positives + self.false_negatives
    }

    /// All samples.
    pub fn total(&self) -> u64 {
        self.true_positives + self.false_positives + self.false_negatives + self.true_negatives
    }
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            true_positives: self.true_positives + other.true_positives,
            false_positives: self.false_positives + other.false_positives,
            false_negatives: self.false_negatives + other.false_negatives,
            true_negatives: self.true_negatives + other.true_negatives,
        }
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), std::ops::Add::add)
    }
}
