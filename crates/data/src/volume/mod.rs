//! Volumes: voxels on a grid that an affine places in the patient.

mod affine;
mod component;
mod format;
mod geometry;
mod gzip;
mod header;
mod nifti_format;
mod orientation;
mod read;
mod resample;
mod values;
mod write;

pub use format::{VolumeReader, VolumeWriter};
pub use nifti_format::Nifti;
pub use orientation::Orientation;
pub use read::MAX_VOXELS;
pub use write::Voxel;

pub(crate) use component::keep_largest_components;
pub(crate) use geometry::listed;
pub(crate) use resample::resample_classes;

use crate::{Error, Result};
use affine::Affine;
use geometry::Reading;

/// Voxels `[nx, ny, nz]` with `x` running fastest, and the affine that maps a voxel's index to
/// millimetres in the patient (x to the right, y to the front, z upwards: NIfTI's world).
///
/// What else a file says, such as its units and description, stays with the format that read it: see [`Nifti`].
#[derive(Debug, Clone, PartialEq)]
pub struct Volume<T = f32> {
    /// Values, `data[(k * shape[1] + j) * shape[0] + i]`.
    pub data: Vec<T>,
    /// Number of voxels along each axis; none is 0.
    pub shape: [usize; 3],
    /// Rows of the 4 x 4 matrix that takes `(i, j, k, 1)` to `(x, y, z, 1)` in mm.
    pub affine: [[f64; 4]; 4],
    /// What was doubtful in the file, and what was made of it. The texts do not name the file.
    pub warnings: Vec<String>,
    /// Other affines that programs take from the file's header.
    readings: Vec<Reading>,
}

impl<T> Volume<T> {
    /// A volume from its values.
    ///
    /// # Errors
    /// [`Error::Shape`] when an axis is empty, `data` does not fill `shape`, or the affine is not
    /// finite and invertible with the last row `0 0 0 1`.
    pub fn new(data: Vec<T>, shape: [usize; 3], affine: [[f64; 4]; 4]) -> Result<Self> {
        let needed = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if needed != Some(data.len()) || data.is_empty() {
            return Err(Error::Shape(format!(
                "a volume of shape {shape:?} cannot be made of {} values",
                data.len()
            )));
        }
        if !affine::is_valid(&affine) {
            return Err(Error::Shape(format!("the affine {affine:?} is not finite and invertible")));
        }
        Ok(Self { data, shape, affine, warnings: Vec::new(), readings: Vec::new() })
    }

    /// Distance in mm between neighbouring voxels along each axis.
    pub fn spacing(&self) -> [f64; 3] {
        affine::spacing(&self.affine)
    }

    /// Whether both volumes lie on one grid. (Label maps are often saved with a rounded affine.)
    ///
    /// That is so where they have the same shape, and affines that place no corner of the grid more than a tenth of a
    /// voxel apart; or where one's affine is what another program reads from the other's header, which leaves its
    /// orientation open or contradicts itself. [`Volume::grid_reading`] tells the second from the first.
    pub fn same_grid<U>(&self, other: &Volume<U>) -> bool {
        self.shape == other.shape
            && (self.places_alike(&self.affine, &other.affine) || self.grid_reading(other).is_some())
    }

    /// By which reading of which header two volumes with different affines lie on one grid, as a phrase: "the
    /// other's affine is ITK's reading of this header". Nothing where the affines are alike, or no reading fits.
    pub fn grid_reading<U>(&self, other: &Volume<U>) -> Option<String> {
        if self.shape != other.shape || self.places_alike(&self.affine, &other.affine) {
            return None;
        }
        let mine = self.readings.iter().find(|reading| self.places_alike(&reading.affine, &other.affine));
        if let Some(reading) = mine {
            return Some(format!("the other's affine is {} of this header", reading.name));
        }
        let theirs = other.readings.iter().find(|reading| self.places_alike(&self.affine, &reading.affine));
        theirs.map(|reading| format!("this affine is {} of the other's header", reading.name))
    }

    /// Whether two affines place no corner of this grid more than a tenth of a voxel apart.
    fn places_alike(&self, a: &Affine, b: &Affine) -> bool {
        let smallest = affine::spacing(a).into_iter().fold(f64::INFINITY, f64::min);
        (0..8).all(|corner| {
            let index = [0, 1, 2].map(|axis| {
                let last = (self.shape[axis] - 1) as f64;
                if corner >> axis & 1 == 1 { last } else { 0.0 }
            });
            let (a, b) = (affine::apply(a, index), affine::apply(b, index));
            (0..3).all(|axis| (a[axis] - b[axis]).abs() <= 0.1 * smallest)
        })
    }

    /// Another value for every voxel, on the same grid.
    pub fn map<U>(&self, value: impl FnMut(&T) -> U) -> Volume<U> {
        self.with_values(self.data.iter().map(value).collect())
    }

    /// The grid alone.
    pub(crate) fn without_values(&self) -> Volume<()> {
        self.with_values(Vec::new())
    }

    /// This grid with other values, which fill the shape.
    pub(crate) fn with_values<U>(&self, data: Vec<U>) -> Volume<U> {
        Volume {
            data,
            shape: self.shape,
            affine: self.affine,
            warnings: self.warnings.clone(),
            readings: self.readings.clone(),
        }
    }
}
