//! Distances from the samples of one mask to the nearest of another: an exact Euclidean distance transform, computed
//! along one axis after the other and only as far as it is asked for.

use rayon::prelude::*;

use crate::envelope::Envelope;
use crate::region::Mask;

/// No sample of the mask lies in this column.
const NONE: u32 = u32::MAX;

/// The distance from every sample of `from`, in their order, to the nearest sample of `to`; infinite where `to` is
/// empty. Both masks lie on one grid.
pub(crate) fn to_nearest(from: &Mask, to: &Mask) -> Vec<f64> {
    let [depth, height, width] = from.grid.shape;
    let plane = height * width;
    if plane == 0 {
        return Vec::new();
    }
    let steps = steps_along_first_axis(&to.inside, plane);
    // The first axis is done for the whole grid. The others are done plane by plane, in the cache, where there is a
    // sample to ask for: the squared distances never exist for the whole grid.
    let found: Vec<Vec<f64>> = (0..depth)
        .into_par_iter()
        .map_init(Plane::default, |scratch, z| {
            let samples = z * plane..(z + 1) * plane;
            scratch.distances(&from.inside[samples.clone()], &steps[samples], from.grid.spacing, width)
        })
        .collect();
    found.concat()
}

/// For every sample, how many steps along the first axis the nearest sample of the mask is away.
fn steps_along_first_axis(inside: &[bool], plane: usize) -> Vec<u32> {
    let mut steps: Vec<u32> = inside.par_iter().map(|&inside| if inside { 0 } else { NONE }).collect();
    let nearer = |steps: &mut u32, before: &u32| *steps = (*steps).min(before.saturating_add(1));
    for end in (2 * plane..=steps.len()).step_by(plane) {
        let (before, after) = steps[..end].split_at_mut(end - plane);
        let before = &before[end - 2 * plane..];
        after.par_iter_mut().with_min_len(1 << 14).zip(before).for_each(|(s, before)| nearer(s, before));
    }
    for start in (plane..steps.len()).step_by(plane).rev() {
        let (before, after) = steps[start - plane..].split_at_mut(plane);
        before
            .par_iter_mut()
            .with_min_len(1 << 14)
            .zip(&after[..plane])
            .for_each(|(s, after)| nearer(s, after));
    }
    steps
}

/// Memory for one plane.
#[derive(Default)]
struct Plane {
    /// Squared distances within the column through all planes, then within the plane's columns as well.
    squares: Vec<f64>,
    envelope: Envelope,
}

impl Plane {
    /// The distances from the samples `from` of a plane, given the steps through the planes.
    fn distances(&mut self, from: &[bool], steps: &[u32], spacing: [f64; 3], width: usize) -> Vec<f64> {
        let mut distances = Vec::new();
        if !from.contains(&true) {
            return distances;
        }
        self.squares.clear();
        self.squares.extend(steps.iter().map(|&steps| match steps {
            NONE => f64::INFINITY,
            steps => (f64::from(steps) * spacing[0]).powi(2),
        }));
        let height = from.len() / width;
        let mut column = vec![0.0; height];
        for x in 0..width {
            let squares = &mut self.squares;
            column.iter_mut().zip(squares[x..].iter().step_by(width)).for_each(|(to, &from)| *to = from);
            self.envelope.transform(column.iter().copied(), spacing[1], |y, square| {
                squares[y * width + x] = square;
            });
        }
        for (from, squares) in from.chunks(width).zip(self.squares.chunks(width)) {
            if from.contains(&true) {
                self.envelope.transform(squares.iter().copied(), spacing[2], |x, square| {
                    if from[x] {
                        distances.push(square.sqrt());
                    }
                });
            }
        }
        distances
    }
}
