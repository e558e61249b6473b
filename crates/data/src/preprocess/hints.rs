//! Signs that a volume is not what a model was made for.

use crate::Volume;
use crate::volume::listed;

/// Pixels a side below which a slice shows nothing.
const FEW_PIXELS: usize = 16;
/// An axis that shrinks or grows more than this many times is probably not in the unit that its header says.
const LARGE_FACTOR: f64 = 8.0;
/// HU of a whole scan span more: air and tissue are 1000 apart.
const NARROW_RANGE: f32 = 10.0;
/// No tissue is darker, whatever its noise: what lies below is padding.
const DARKEST: f32 = -1100.0;
/// Less than this share of a scan's values in HU is negative only where something was done to them.
const FEW: f64 = 0.001;
/// What scanners add to HU so that no value is negative.
const OFFSET: f32 = 1024.0;
/// HU stay below, those of metal included: they are stored in 16 bits.
const LARGEST: f32 = 65536.0;

/// A word on a volume that hardly anything is left of, or that is mostly made up, on the grid of `shape`.
pub(super) fn resampling(volume: &Volume, shape: [usize; 3]) -> Option<String> {
    let factor = |axis: usize| volume.shape[axis] as f64 / shape[axis] as f64;
    let few = |axis: usize| shape[axis] < FEW_PIXELS.min(volume.shape[axis]);
    let extreme = |axis: usize| !(1.0 / LARGE_FACTOR..=LARGE_FACTOR).contains(&factor(axis));
    if !(few(0) || few(1) || (0..3).any(extreme)) {
        return None;
    }
    let grid = |shape: [usize; 3]| shape.map(|side| side.to_string()).join(" x ");
    Some(format!(
        "{} voxels of {} mm become {} on the model's grid: check the voxel sizes in the header, or the model",
        grid(volume.shape),
        listed(volume.spacing()),
        grid(shape)
    ))
}

/// A word on values that are no HU, where the window of a model is one of HU.
pub(super) fn hounsfield(values: &[f32], [low, high]: [f64; 2]) -> Option<String> {
    let (mut least, mut most, mut padding, mut negative) = (f32::INFINITY, f32::NEG_INFINITY, 0usize, 0usize);
    for &value in values {
        (least, most) = (least.min(value), most.max(value));
        padding += usize::from(value < DARKEST);
        negative += usize::from((DARKEST..0.0).contains(&value));
    }
    // A window from 0 up is as well one of other values.
    let of_hounsfield = low < 0.0;
    // Padding, and overshoots of a resampling, are below 0 in any data. Of masked HU there may be as little.
    let is_positive =
        negative as f64 <= FEW * (values.len() - padding) as f64 && (least >= 0.0 || most > OFFSET);
    let guess = if most - least <= NARROW_RANGE && high - low > 2.0 * f64::from(NARROW_RANGE) {
        "they look normalised"
    } else if of_hounsfield && least < 0.0 && most > LARGEST {
        "they are far beyond these, as if they were multiplied (HU x 1000)"
    } else if !of_hounsfield || !is_positive {
        return None;
    } else if most <= 255.0 {
        "they look like those of an 8-bit picture"
    } else if most <= 5.0 * OFFSET {
        "they look as if 1024 was added to them, or are of another modality"
    } else {
        "they are not those of a CT"
    };
    Some(format!(
        "values are from {least} to {most}, and the model expects Hounsfield units (window {low} to {high}): {guess}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_hounsfield_units_are_told_apart() {
        let says = |values: &[f32]| hounsfield(values, [-200.0, 250.0]);
        for (values, word) in [
            ([0.0, 1.0], "normalised"),
            ([-1.0, 1.0], "normalised"),
            ([-3.0, 4.0], "normalised"),
            ([0.0, 255.0], "8-bit"),
            ([0.0, 4095.0], "1024"),
            ([24.0, 3071.0], "1024"),
            ([0.0, 65535.0], "not those of a CT"),
            ([-1_024_000.0, 3_071_000.0], "HU x 1000"),
        ] {
            assert!(says(&values).is_some_and(|text| text.contains(word)), "{values:?}: {:?}", says(&values));
        }
        for values in [[-1024.0, 3071.0], [-200.0, 250.0], [-2000.0, 80.0]] {
            assert_eq!(says(&values), None);
        }
        // Padding hides nothing: it is below all that a scanner stores.
        let padded = [[-2000.0; 50].as_slice(), &[0.0, 24.0, 1064.0, 3000.0]].concat();
        assert!(
            says(&padded).is_some_and(|text| text.contains("from -2000 to 3000") && text.contains("1024"))
        );
        let whole = [[-2000.0; 50].as_slice(), &[-1000.0, -50.0, 40.0, 3000.0]].concat();
        assert_eq!(says(&whole), None);
        // Metal in 16 bits, and padding at their end.
        assert_eq!(says(&[f32::MIN, -32768.0, -1000.0, 40.0, 30000.0]), None);
        // Windows of other values have their own range.
        assert_eq!(hounsfield(&[0.0, 255.0], [0.0, 255.0]), None);
        assert_eq!(hounsfield(&[0.0, 1.0], [0.0, 1.0]), None);
        assert!(hounsfield(&[0.0, 1.0], [0.0, 80.0]).is_some());
    }
}
