//! Distances between the surfaces of a prediction and a reference.

use crate::region::cut;
use crate::surface::surface;
use crate::{Labels, Result, distance};

/// Distances from each surface sample of one mask to the nearest of the other, in both directions, in the unit of the
/// spacing.
///
/// The surface of a mask are its samples with a neighbour outside: of the 4 neighbours in an image, of the 6 in a
/// volume, where everything beyond the border is outside. That is medpy's definition. Where one mask is empty, the
/// other's distances are infinite.
#[derive(Debug, Clone, PartialEq)]
pub struct SurfaceDistances {
    /// From the prediction's surface to the reference's.
    pub from_prediction: Vec<f64>,
    /// From the reference's surface to the prediction's.
    pub from_reference: Vec<f64>,
}

impl SurfaceDistances {
    /// Measures the class `class`.
    ///
    /// # Errors
    /// [`Error::Grids`](crate::Error::Grids) when the two differ in shape or spacing.
    ///
    /// ```
    /// use unet3p_metrics::{Labels, SurfaceDistances};
    /// // Two pixels next to each other, and one of them alone; pixels are 0.5 mm wide.
    /// let prediction = Labels::new(&[0u8, 1, 1, 0], &[1, 4], &[1.0, 0.5])?;
    /// let reference = Labels::new(&[0u8, 1, 0, 0], &[1, 4], &[1.0, 0.5])?;
    /// let distances = SurfaceDistances::of_class(&prediction, &reference, 1)?;
    /// assert_eq!(distances.from_prediction, [0.0, 0.5]);
    /// assert_eq!(distances.from_reference, [0.0]);
    /// assert_eq!(distances.hausdorff(), Some(0.5));
    /// # Ok::<(), unet3p_metrics::Error>(())
    /// ```
    pub fn of_class<T: Copy + PartialEq + Sync>(
        prediction: &Labels<'_, T>,
        reference: &Labels<'_, T>,
        class: T,
    ) -> Result<Self> {
        prediction.check_same_grid(reference)?;
        let [prediction, reference] = cut(prediction, reference, class).map(|mask| surface(&mask));
        Ok(Self {
            from_prediction: distance::to_nearest(&prediction, &reference),
            from_reference: distance::to_nearest(&reference, &prediction),
        })
    }

    /// The average surface distance (ASD), from the prediction to the reference: the mean of
    /// [`from_prediction`](Self::from_prediction). Infinite where one mask is empty, undefined where both are.
    pub fn asd(&self) -> Option<f64> {
        self.unless_empty(|| mean(self.from_prediction.iter()))
    }

    /// The average symmetric surface distance (ASSD): the mean over both surfaces together. Infinite where one mask
    /// is empty, undefined where both are.
    pub fn assd(&self) -> Option<f64> {
        self.unless_empty(|| mean(self.from_prediction.iter().chain(&self.from_reference)))
    }

    /// `value`, unless a mask is empty: then infinite, or undefined where both are.
    pub(crate) fn unless_empty(&self, value: impl FnOnce() -> f64) -> Option<f64> {
        match (self.from_prediction.is_empty(), self.from_reference.is_empty()) {
            (false, false) => Some(value()),
            (true, true) => None,
            _ => Some(f64::INFINITY),
        }
    }
}

fn mean<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
    sum / count as f64
}
