//! The Hausdorff distance and its percentiles.

use crate::{SurfaceDistances, percentile};

impl SurfaceDistances {
    /// The Hausdorff distance: the largest distance in either direction. Infinite where one mask is empty, undefined
    /// where both are.
    pub fn hausdorff(&self) -> Option<f64> {
        self.unless_empty(|| self.both().fold(0.0, f64::max))
    }

    /// The 95th percentile of the distances of both directions together (HD95), as medpy defines it: robust against
    /// few stray samples. Infinite where one mask is empty, undefined where both are.
    ///
    /// Other tools take the larger of the two directions' percentiles, which gives other values.
    pub fn hausdorff95(&self) -> Option<f64> {
        self.unless_empty(|| {
            let pooled: Vec<f64> = self.both().collect();
            percentile(&pooled, 95.0).unwrap_or(f64::INFINITY)
        })
    }

    fn both(&self) -> impl Iterator<Item = f64> {
        self.from_prediction.iter().chain(&self.from_reference).copied()
    }
}
