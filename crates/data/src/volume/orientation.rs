//! Turning a volume's axes to right, anterior, superior (RAS), and back.

use super::Volume;
use super::affine::{Affine, spacing};
use crate::{Error, Result};

/// How a grid's axes lie in the patient: the permutation and the flips that make them point to the
/// patient's right, front and head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation {
    /// `source[a]`: the axis of the grid closest to world axis `a`.
    source: [usize; 3],
    /// `flip[a]`: whether that axis runs against world axis `a`.
    flip: [bool; 3],
}

impl Orientation {
    /// The orientation of a volume: of the six ways to pair its axes with the world's, the one whose
    /// axes are closest (largest sum of absolute cosines).
    pub fn of<T>(volume: &Volume<T>) -> Self {
        Self::of_affine(&volume.affine)
    }

    pub(super) fn of_affine(affine: &Affine) -> Self {
        let lengths = spacing(affine);
        let cosine = |world: usize, axis: usize| affine[world][axis] / lengths[axis];
        let pairings = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let closeness = |source: &[usize; 3]| (0..3).map(|a| cosine(a, source[a]).abs()).sum::<f64>();
        // The first of equals wins, so that a grid at exactly 45 degrees is not turned.
        let source = pairings
            .into_iter()
            .reduce(|best, other| if closeness(&other) > closeness(&best) { other } else { best });
        let source = source.unwrap_or([0, 1, 2]);
        Self { source, flip: [0, 1, 2].map(|a| cosine(a, source[a]) < 0.0) }
    }

    /// The axes' directions as three letters, as other tools print them: "LAS" runs to the left, to the
    /// front, upwards.
    pub fn code(&self) -> String {
        const LETTERS: [[char; 2]; 3] = [['R', 'L'], ['A', 'P'], ['S', 'I']];
        let letter = |axis: usize| {
            let world = (0..3).find(|&a| self.source[a] == axis).unwrap_or(axis);
            LETTERS[world][usize::from(self.flip[world])]
        };
        (0..3).map(letter).collect()
    }

    /// The volume with its axes turned to RAS; its affine follows.
    pub fn to_ras<T: Copy>(&self, volume: &Volume<T>) -> Volume<T> {
        let shape = self.source.map(|axis| volume.shape[axis]);
        let strides = strides(volume.shape);
        let mut data = Vec::with_capacity(volume.data.len());
        let start: isize =
            (0..3).filter(|&a| self.flip[a]).map(|a| (shape[a] - 1) as isize * strides[self.source[a]]).sum();
        let step =
            [0, 1, 2].map(|a| if self.flip[a] { -strides[self.source[a]] } else { strides[self.source[a]] });
        for k in 0..shape[2] as isize {
            for j in 0..shape[1] as isize {
                let row = start + k * step[2] + j * step[1];
                data.extend((0..shape[0] as isize).map(|i| volume.data[(row + i * step[0]) as usize]));
            }
        }
        let mut affine = volume.affine;
        for (row, native) in affine.iter_mut().zip(&volume.affine).take(3) {
            for a in 0..3 {
                let axis = self.source[a];
                row[a] = if self.flip[a] { -native[axis] } else { native[axis] };
                if self.flip[a] {
                    // The first voxel of a flipped axis is the grid's last one.
                    row[3] += (shape[a] - 1) as f64 * native[axis];
                }
            }
        }
        Volume { data, shape, affine, warnings: volume.warnings.clone(), readings: Vec::new() }
    }

    /// Voxels `[nx, ny, nz]` of an RAS grid, in the order of this orientation's own grid: undoes
    /// [`Orientation::to_ras`].
    ///
    /// # Errors
    /// [`Error::Shape`] when `data` does not fill `ras_shape`.
    pub fn from_ras<T: Copy>(&self, data: &[T], ras_shape: [usize; 3]) -> Result<Vec<T>> {
        if data.len() != ras_shape.iter().product::<usize>() {
            return Err(Error::Shape(format!("{} voxels do not fill {ras_shape:?}", data.len())));
        }
        let mut shape = [0; 3];
        let ras_strides = strides(ras_shape);
        let mut step = [0; 3];
        let mut start = 0;
        for a in 0..3 {
            shape[self.source[a]] = ras_shape[a];
            step[self.source[a]] = if self.flip[a] { -ras_strides[a] } else { ras_strides[a] };
            if self.flip[a] {
                start += (ras_shape[a] as isize - 1) * ras_strides[a];
            }
        }
        let mut out = Vec::with_capacity(data.len());
        for k in 0..shape[2] as isize {
            for j in 0..shape[1] as isize {
                let row = start + k * step[2] + j * step[1];
                out.extend((0..shape[0] as isize).map(|i| data[(row + i * step[0]) as usize]));
            }
        }
        Ok(out)
    }
}

fn strides(shape: [usize; 3]) -> [isize; 3] {
    [1, shape[0] as isize, (shape[0] * shape[1]) as isize]
}
