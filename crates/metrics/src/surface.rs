//! The surface of a mask.

use rayon::prelude::*;

use crate::region::Mask;

/// The samples of a mask that its erosion takes away: those with a neighbour outside of it, of the 4 in an image and
/// the 6 in a volume. Everything beyond the border of the grid is outside.
pub(crate) fn surface(mask: &Mask) -> Mask {
    let [depth, height, width] = mask.grid.shape;
    let inside = &mask.inside;
    let mut surface = inside.clone();
    if surface.is_empty() {
        return Mask { inside: surface, grid: mask.grid };
    }
    surface.par_chunks_mut(width).enumerate().for_each(|(row, surface)| {
        let (z, y) = (row / height, row % height);
        let within = |at: usize, side: usize| at > 0 && at + 1 < side;
        // All of a row on a face of the grid has neighbours beyond it.
        if !within(y, height) || (mask.grid.volume && !within(z, depth)) {
            return;
        }
        let start = row * width;
        let plane = if mask.grid.volume { height * width } else { 0 };
        for (x, sample) in surface.iter_mut().enumerate().filter(|(_, sample)| **sample) {
            let i = start + x;
            let enclosed = within(x, width)
                && [1, width, plane].into_iter().all(|step| inside[i - step] && inside[i + step]);
            *sample = !enclosed;
        }
    });
    Mask { inside: surface, grid: mask.grid }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Grid;

    #[test]
    fn an_image_has_four_neighbours_and_a_volume_six() {
        let surface_of = |shape: [usize; 3], volume| {
            let grid = Grid { shape, spacing: [1.0; 3], volume };
            let count = shape.iter().product();
            surface(&Mask { inside: vec![true; count], grid }).inside.iter().filter(|&&on| on).count()
        };
        assert_eq!(surface_of([1, 4, 5], false), 14);
        // A single plane of a volume has nothing above and below.
        assert_eq!(surface_of([1, 4, 5], true), 20);
        assert_eq!(surface_of([3, 4, 5], true), 3 * 4 * 5 - 6);
        assert_eq!(surface_of([0, 0, 0], true), 0);
    }

    #[test]
    fn corners_do_not_count_as_neighbours() {
        // A full square without one corner: its diagonal neighbour stays enclosed.
        let mut inside = vec![true; 25];
        inside[0] = false;
        let grid = Grid { shape: [1, 5, 5], spacing: [1.0; 3], volume: false };
        let found = surface(&Mask { inside, grid });
        assert!(!found.inside[6] && !found.inside[12] && found.inside[1] && found.inside[5]);
    }
}
