//! Volumes at another spacing or size.

use super::{MAX_VOXELS, Volume, listed};
use crate::resample::{Resample, resample_axis, taps};
use crate::{Error, Result};

/// Grids of up to this many voxels are made of any volume: 4 MiB of single precision.
const SMALL_GRID: usize = 1 << 20;
/// Larger grids have at most this many times the volume's own voxels, 64 bytes for each: 2.5 mm become 1 mm
/// along all axes.
const MOST_GROWTH: usize = 16;
/// What to do about a grid that is too large.
const REMEDY: &str = "check the voxel sizes and the unit of length in the file's header";

impl<T> Volume<T> {
    /// The shape this volume has at a spacing in mm: extents are kept, to the closest whole voxel.
    ///
    /// # Errors
    /// [`Error::Setting`] when a spacing is not positive, or so small that an axis would have more than 32767 voxels, or
    /// the volume more than 2^20 and more than 16 times its own or [`MAX_VOXELS`] (on the way there, too).
    pub fn shape_at(&self, spacing: [f64; 3]) -> Result<[usize; 3]> {
        let own = self.spacing();
        let mut shape = [0; 3];
        for axis in 0..3 {
            let voxels = (self.shape[axis] as f64 * own[axis] / spacing[axis]).round().max(1.0);
            if !(spacing[axis] > 0.0 && spacing[axis].is_finite() && voxels <= f64::from(i16::MAX)) {
                let allowed = format!(
                    "three distances in mm that suit a volume of {:?} voxels of {} mm are needed; {REMEDY}",
                    self.shape,
                    listed(own)
                );
                return Err(Error::setting("spacing", format!("{spacing:?}"), allowed));
            }
            shape[axis] = voxels as usize;
        }
        self.check_resampling(shape, "spacing", &format!("{spacing:?}"))?;
        Ok(shape)
    }

    /// Whether this volume can be resampled to `shape`, which `key` = `value` asks for: axis by axis, no volume on the
    /// way may be too large.
    pub(crate) fn check_resampling(&self, shape: [usize; 3], key: &str, value: &str) -> Result<()> {
        let ([nx, ny, nz], [mx, my, mz]) = (self.shape, shape);
        let steps = [[nx, ny, mz], [nx, my, mz], [mx, my, mz]];
        let voxels = |shape: &[usize; 3]| shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side));
        let own = voxels(&[nx, ny, nz]).unwrap_or(MAX_VOXELS);
        let most = own.saturating_mul(MOST_GROWTH).clamp(SMALL_GRID, MAX_VOXELS);
        if steps.iter().all(|step| voxels(step).is_some_and(|n| n <= most)) {
            return Ok(());
        }
        let allowed = format!(
            "a volume of {:?} voxels of {} mm becomes one of {shape:?}; at most {most} voxels are made of it, in each \
             step; {REMEDY}",
            self.shape,
            listed(self.spacing())
        );
        Err(Error::setting(key, value, allowed))
    }

    /// The same extent cut into `shape` voxels of the values `data`.
    fn regridded<U>(&self, data: Vec<U>, shape: [usize; 3]) -> Volume<U> {
        let mut affine = self.affine;
        for row in affine.iter_mut().take(3) {
            for axis in 0..3 {
                let ratio = self.shape[axis] as f64 / shape[axis] as f64;
                // The first voxel's centre moves by half the difference of the two sizes.
                row[3] += 0.5 * (ratio - 1.0) * row[axis];
                row[axis] *= ratio;
            }
        }
        Volume { data, shape, affine, warnings: Vec::new(), readings: Vec::new() }
    }
}

impl Volume<f32> {
    /// The same extent in `shape` voxels: trilinear, averaging where an axis shrinks.
    pub(crate) fn resample(&self, shape: [usize; 3]) -> Self {
        self.regridded(resample_values(&self.data, self.shape, shape), shape)
    }
}

impl<T: Copy> Volume<T> {
    /// The same extent in `shape` voxels, each the closest voxel's value.
    pub(crate) fn resample_nearest(&self, shape: [usize; 3]) -> Self {
        let [x, y, z] = [0, 1, 2].map(|axis| taps(self.shape[axis], shape[axis], Resample::Nearest));
        let mut data = Vec::with_capacity(shape.iter().product());
        for k in &z {
            for j in &y {
                let row = &self.data[(k.first * self.shape[1] + j.first) * self.shape[0]..][..self.shape[0]];
                data.extend(x.iter().map(|i| row[i.first]));
            }
        }
        self.regridded(data, shape)
    }
}

/// Class ids at another size: each class's indicator is resampled like an image, and the largest share
/// wins, the smaller id among equals. Unlike the closest voxel this follows the outline when an axis
/// shrinks.
pub(crate) fn resample_classes(volume: &Volume<u8>, shape: [usize; 3]) -> Volume<u8> {
    let mut present = [false; 256];
    volume.data.iter().for_each(|&id| present[usize::from(id)] = true);
    let count = shape.iter().product();
    let (mut best, mut ids) = (vec![0.0f32; count], vec![0u8; count]);
    for id in (0..=255u8).filter(|&id| present[usize::from(id)]) {
        let indicator: Vec<f32> = volume.data.iter().map(|&v| f32::from(v == id)).collect();
        let share = resample_values(&indicator, volume.shape, shape);
        for ((best, winner), share) in best.iter_mut().zip(&mut ids).zip(share) {
            if share > *best {
                (*best, *winner) = (share, id);
            }
        }
    }
    volume.regridded(ids, shape)
}

/// Axis by axis, the slowest first: whole slices and rows are combined before single voxels are.
fn resample_values(data: &[f32], from: [usize; 3], to: [usize; 3]) -> Vec<f32> {
    let [nx, ny, nz] = from;
    let mut values = std::borrow::Cow::Borrowed(data);
    if nz != to[2] {
        values = resample_axis(&values, nz, nx * ny, &taps(nz, to[2], Resample::Bilinear)).into();
    }
    if ny != to[1] {
        values = resample_axis(&values, ny, nx, &taps(ny, to[1], Resample::Bilinear)).into();
    }
    if nx != to[0] {
        values = resample_axis(&values, nx, 1, &taps(nx, to[0], Resample::Bilinear)).into();
    }
    values.into_owned()
}
