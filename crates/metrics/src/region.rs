//! The part of a grid in which a class lies: everything about surfaces happens there.

use std::ops::Range;

use rayon::prelude::*;

use crate::Labels;
use crate::labels::Grid;

/// Whether each sample of a grid belongs to something, the last axis running fastest.
pub(crate) struct Mask {
    pub(crate) inside: Vec<bool>,
    pub(crate) grid: Grid,
}

/// The masks of `class` in both label maps (which lie on one grid), cut to the smallest box that holds them.
pub(crate) fn cut<T: Copy + PartialEq + Sync>(
    prediction: &Labels<'_, T>,
    reference: &Labels<'_, T>,
    class: T,
) -> [Mask; 2] {
    let region = bounds(prediction, reference, class);
    [prediction, reference].map(|labels| {
        let [_, height, width] = labels.grid().shape;
        let shape = region.each_ref().map(Range::len);
        let mut inside = Vec::with_capacity(shape.iter().product());
        for z in region[0].clone() {
            for y in region[1].clone() {
                let row = (z * height + y) * width;
                let ids = &labels.ids()[row + region[2].start..row + region[2].end];
                inside.extend(ids.iter().map(|&id| id == class));
            }
        }
        Mask { inside, grid: Grid { shape, ..labels.grid() } }
    })
}

/// The smallest box with every sample of `class` in either label map; an empty one where there is none.
fn bounds<T: Copy + PartialEq + Sync>(a: &Labels<'_, T>, b: &Labels<'_, T>, class: T) -> [Range<usize>; 3] {
    let [_, height, width] = a.grid().shape;
    let row_bounds = |row: usize| {
        let samples = row * width..(row + 1) * width;
        let pairs = || a.ids()[samples.clone()].iter().zip(&b.ids()[samples.clone()]);
        let is_class = |(&a, &b): (&T, &T)| (a == class) | (b == class);
        // Most rows hold none, which is seen fastest without looking for a place.
        if !pairs().fold(false, |any, pair| any | is_class(pair)) {
            return None;
        }
        let (first, last) = (pairs().position(is_class)?, pairs().rposition(is_class)?);
        let (z, y) = (row / height, row % height);
        Some([z..z + 1, y..y + 1, first..last + 1])
    };
    let union = |a: [Range<usize>; 3], b: [Range<usize>; 3]| {
        [0, 1, 2].map(|axis| a[axis].start.min(b[axis].start)..a[axis].end.max(b[axis].end))
    };
    let rows = a.ids().len().checked_div(width).unwrap_or(0);
    let found = (0..rows).into_par_iter().filter_map(row_bounds).reduce_with(union);
    found.unwrap_or([0..0, 0..0, 0..0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_holds_both_masks_and_nothing_more() {
        let mut prediction = vec![0u8; 4 * 5 * 6];
        let mut reference = prediction.clone();
        prediction[(5 + 2) * 6 + 3] = 7;
        reference[(3 * 5 + 2) * 6 + 4] = 7;
        reference[0] = 1;
        let [prediction, reference] =
            [&prediction, &reference].map(|ids| Labels::new(ids, &[4, 5, 6], &[1.0, 2.0, 3.0]).unwrap());
        assert_eq!(bounds(&prediction, &reference, 7), [1..4, 2..3, 3..5]);
        let [cut_prediction, cut_reference] = cut(&prediction, &reference, 7);
        assert_eq!(cut_prediction.grid.shape, [3, 1, 2]);
        assert_eq!(cut_prediction.inside, [true, false, false, false, false, false]);
        assert_eq!(cut_reference.inside, [false, false, false, false, false, true]);
        assert!(cut(&prediction, &reference, 9)[0].inside.is_empty());
    }
}
