//! Surface Dice at a tolerance.

use crate::SurfaceDistances;

/// Distances are sums and roots of multiples of the spacing: what exceeds the tolerance by less than this share of it
/// is rounding.
const ROUNDING: f64 = 1e-12;

impl SurfaceDistances {
    /// The share of both surfaces that lies within `tolerance` (at least 0, in the unit of the spacing) of the other:
    /// normalised surface Dice (NSD) of Nikolov et al., "Deep learning to achieve clinically applicable segmentation
    /// of head and neck anatomy for radiotherapy" (arXiv:1809.04430), on surface samples instead of surface elements.
    /// 0 where one mask is empty, undefined where both are.
    pub fn surface_dice(&self, tolerance: f64) -> Option<f64> {
        let all = self.from_prediction.len() + self.from_reference.len();
        let limit = tolerance * (1.0 + ROUNDING);
        let within = |distances: &[f64]| distances.iter().filter(|&&distance| distance <= limit).count();
        let near = within(&self.from_prediction) + within(&self.from_reference);
        (all > 0).then(|| near as f64 / all as f64)
    }
}

#[cfg(test)]
mod tests {
    use crate::SurfaceDistances;

    #[test]
    fn the_tolerance_is_inclusive_whatever_the_rounding() {
        let three_tenths = 0.1 + 0.1 + 0.1;
        assert!(three_tenths > 0.3);
        let distances =
            SurfaceDistances { from_prediction: vec![0.0, three_tenths], from_reference: vec![0.31, 0.0] };
        assert_eq!(distances.surface_dice(0.3), Some(0.75));
        assert_eq!(distances.surface_dice(0.0), Some(0.5));
        assert_eq!(distances.surface_dice(1.0), Some(1.0));
    }
}
