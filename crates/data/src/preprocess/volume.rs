//! Volumes to slices for the network, and the network's answers back onto the volume's own grid.

use rayon::prelude::*;
use unet3p_kernels::ClassRule;

use super::{Layout, Normalize, Preprocessor, hints};
use crate::resample::{Resample, taps};
use crate::volume::keep_largest_components;
use crate::{Error, Image, Orientation, Result, Volume, resize};

/// A volume on the model's grid, to be taken apart slice by slice, and the way back.
///
/// Slices run from the feet to the head. In each, row 0 is the patient's front and column 0 the
/// patient's right, as a radiologist sees it.
#[derive(Debug, Clone)]
pub struct PreparedVolume {
    preprocessor: Preprocessor,
    /// Window or raw values, RAS, on the model's grid.
    volume: Volume,
    native: Volume<()>,
    orientation: Orientation,
    /// Shape of the native grid when turned to RAS.
    ras_shape: [usize; 3],
    warnings: Vec<String>,
}

impl Preprocessor {
    /// Turns a volume to RAS, resamples it to the model's spacing and size, and applies the HU window.
    ///
    /// A volume knows its spacing, so the model's wins over `size`. Without a window, "zscore" and "minmax" work on the
    /// values as they are.
    ///
    /// # Errors
    /// [`Error::Setting`] when the model has no window but needs one, or a spacing that does not suit
    /// the volume, see [`Volume::shape_at`].
    pub fn prepare_volume(&self, volume: &Volume) -> Result<PreparedVolume> {
        self.validate()?;
        if self.window.is_none() && matches!(self.normalize, Normalize::Fixed | Normalize::Window) {
            return Err(Error::setting(
                "window",
                "null",
                "volumes need two HU values here, or normalize = \"zscore\" or \"minmax\"",
            ));
        }
        let orientation = Orientation::of(volume);
        let ras = orientation.to_ras(volume);
        let shape = match self.spacing {
            Some(spacing) => ras.shape_at(spacing)?,
            None => match self.size {
                Some(size) => {
                    let shape = [size.width, size.height, ras.shape[2]];
                    ras.check_resampling(shape, "size", &format!("{} x {}", size.height, size.width))?;
                    shape
                }
                None => ras.shape,
            },
        };
        let ras_shape = ras.shape;
        let mut warnings = Vec::from_iter(hints::resampling(&ras, shape));
        warnings.extend(self.window.and_then(|window| hints::hounsfield(&ras.data, window)));
        let mut on_grid = if shape == ras_shape { ras } else { ras.resample(shape) };
        if let Some([low, high]) = self.window {
            let (low, scale) = (low as f32, 1.0 / (high - low) as f32);
            on_grid.data.par_iter_mut().for_each(|v| *v = ((*v - low) * scale).clamp(0.0, 1.0));
        }
        Ok(PreparedVolume {
            preprocessor: self.clone(),
            volume: on_grid,
            native: volume.without_values(),
            orientation,
            ras_shape,
            warnings,
        })
    }
}

impl PreparedVolume {
    /// Number of slices.
    pub fn len(&self) -> usize {
        self.volume.shape[2]
    }

    /// Whether there is no slice; never so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and columns of every slice.
    pub fn size(&self) -> (usize, usize) {
        (self.volume.shape[1], self.volume.shape[0])
    }

    /// Signs that the volume is not what the model was made for: values that are no HU, voxel sizes that leave little of
    /// it. The texts do not name the file; what was doubtful in the file itself is in [`Volume::warnings`].
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Distance in mm between columns, rows and slices.
    pub fn spacing(&self) -> [f64; 3] {
        self.volume.spacing()
    }

    /// The network's input for slice `z`: `[channels, height, width]`, with the neighbours below and above
    /// as first and last channel where the layout is "slices" (the end slices are their own neighbours).
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no slice `z`.
    pub fn slice(&self, z: usize) -> Result<Image> {
        let mut image = self.values(z)?;
        self.preprocessor.normalize_unit(&mut image);
        Ok(image)
    }

    /// The slice's channels before normalisation: values from 0 to 1 where the model has a window.
    pub(crate) fn values(&self, z: usize) -> Result<Image> {
        if z >= self.len() {
            return Err(Error::Shape(format!("there is no slice {z} of {}", self.len())));
        }
        let neighbours = match self.preprocessor.layout {
            Layout::Gray => vec![z],
            Layout::Rgb => vec![z; 3],
            Layout::Slices => vec![z.saturating_sub(1), z, (z + 1).min(self.len() - 1)],
        };
        let (height, width) = self.size();
        let data = neighbours.iter().flat_map(|&k| displayed(&self.volume, k)).collect();
        Image::new(neighbours.len(), height, width, data)
    }

    /// Class ids on the volume's own grid, from each slice's probabilities `[classes, height, width]`.
    ///
    /// Probabilities are interpolated linearly between slices and pixels before the rule is applied, so
    /// that outlines stay smooth on a finer grid; no volume of probabilities is ever made.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are not as many images as slices, or one has another size.
    pub fn restore(&self, probabilities: &[Image], rule: ClassRule) -> Result<Volume<u8>> {
        let (height, width) = self.size();
        let classes = probabilities.first().map_or(0, |image| image.channels);
        let fits = |image: &Image| (image.channels, image.height, image.width) == (classes, height, width);
        if probabilities.len() != self.len() || classes == 0 || !probabilities.iter().all(fits) {
            return Err(Error::Shape(format!(
                "probabilities for {} slices of {height} x {width} pixels and equal classes are needed",
                self.len()
            )));
        }
        let [nx, ny, nz] = self.ras_shape;
        let mut ras = vec![0u8; nx * ny * nz];
        let slice_taps = taps(self.len(), nz, Resample::Bilinear);
        ras.par_chunks_mut(nx * ny).zip(&slice_taps).try_for_each(|(out, tap)| {
            let mut blend = Image::filled(classes, height, width, 0.0);
            for (&weight, image) in tap.weights.iter().zip(&probabilities[tap.first..]) {
                blend.data.iter_mut().zip(&image.data).for_each(|(b, &p)| *b += weight * p);
            }
            let blend = resize(&blend, ny, nx, Resample::Bilinear)?;
            // Undo the display order: last row and column first.
            let ids = rule.classes(&blend.data, classes);
            out.iter_mut().rev().zip(ids).for_each(|(voxel, id)| *voxel = id);
            Ok::<(), Error>(())
        })?;
        if self.preprocessor.keep_largest_component {
            keep_largest_components(&mut ras, self.ras_shape);
        }
        let data = self.orientation.from_ras(&ras, self.ras_shape)?;
        Ok(self.native.with_values(data))
    }
}

/// Slice `k` of an RAS volume as it is displayed: from front to back, from the patient's right to left.
/// Both in-plane axes run the other way, so that this is the slice read backwards.
pub(crate) fn displayed<T: Copy>(volume: &Volume<T>, k: usize) -> impl Iterator<Item = T> {
    let area = volume.shape[0] * volume.shape[1];
    volume.data[k * area..(k + 1) * area].iter().rev().copied()
}
