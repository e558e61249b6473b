//! Volumes to slices for the network, and the network's answers back onto the volume's own grid.

use rayon::prelude::*;
use unet3p_kernels::ClassRule;

use super::{Layout, Normalize, Preprocessor, hints};
use crate::resample::{Resample, taps};
use crate::volume::{keep_largest_components, listed};
use crate::{Error, Image, Orientation, Result, Volume, resize};

/// A volume on the model's grid, to be taken apart slice by slice, and the way back.
///
/// Slices run from the feet to the head. In each, row 0 is the patient's front and column 0 the
/// patient's right, as a radiologist sees it.
#[derive(Debug, Clone)]
pub struct PreparedVolume {
    preprocessor: Preprocessor,
    /// Window or raw values of each channel, RAS, on the model's grid; a single one unless the layout is "channels".
    channels: Vec<Volume>,
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
        self.prepare_channels(std::slice::from_ref(volume))
    }

    /// As [`Preprocessor::prepare_volume`], for a case with a volume for each channel in the layout "channels". All lie on
    /// the first one's grid, and so does the mask.
    ///
    /// # Errors
    /// As [`Preprocessor::prepare_volume`]; [`Error::Shape`] for another number of volumes than of channels, or volumes on
    /// different grids.
    ///
    /// ```
    /// use unet3p_data::{Preprocessor, Volume};
    /// let grid = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    /// let t1 = Volume::new((0..8u8).map(f32::from).collect(), [2, 2, 2], grid)?;
    /// let t2 = t1.map(|&value| 300.0 - 10.0 * value);
    /// let mr = Preprocessor::for_channels(vec!["t1".into(), "t2".into()]);
    /// let slice = mr.prepare_channels(&[t1, t2])?.slice(0)?; // [2, 2, 2], each channel of mean 0 and deviation 1
    /// assert!((slice.plane(0)[0] + slice.plane(1)[0]).abs() < 1e-6);
    /// # Ok::<(), unet3p_data::Error>(())
    /// ```
    pub fn prepare_channels(&self, volumes: &[Volume]) -> Result<PreparedVolume> {
        self.validate()?;
        let Some(first) = volumes.first().filter(|_| volumes.len() == self.files_per_case()) else {
            let volumes =
                if volumes.len() == 1 { "1 volume".into() } else { format!("{} volumes", volumes.len()) };
            return Err(Error::Shape(format!(
                "the case has {volumes}, but the network is trained on {}",
                self.describe_channels()
            )));
        };
        if self.window.is_none() && matches!(self.normalize, Normalize::Fixed | Normalize::Window) {
            return Err(Error::setting(
                "window",
                "null",
                "volumes need two HU values here, or normalize = \"zscore\" or \"minmax\"",
            ));
        }
        for (channel, volume) in volumes.iter().enumerate().skip(1) {
            if !first.same_grid(volume) {
                let name = self.channel_names.get(channel).map_or("", String::as_str);
                return Err(Error::Shape(format!(
                    "the channel {name} does not lie on the first one's grid: {:?} voxels of {} mm instead of {:?} of {} mm; \
                     register and resample the channels to one grid",
                    volume.shape,
                    listed(volume.spacing()),
                    first.shape,
                    listed(first.spacing())
                )));
            }
        }
        let orientation = Orientation::of(first);
        let ras = orientation.to_ras(first);
        let (ras_shape, shape) = (ras.shape, self.grid_of(&ras)?);
        let mut warnings = Vec::from_iter(hints::resampling(&ras, shape));
        let mut channels = vec![self.on_grid(ras, shape, 0, &mut warnings)];
        for (channel, volume) in volumes.iter().enumerate().skip(1) {
            // Affines may be spelt differently: the voxels belong together one by one.
            channels.push(self.on_grid(orientation.to_ras(volume), shape, channel, &mut warnings));
        }
        Ok(PreparedVolume {
            preprocessor: self.clone(),
            channels,
            native: first.without_values(),
            orientation,
            ras_shape,
            warnings,
        })
    }

    /// The model's grid for a volume that is turned to RAS.
    fn grid_of(&self, ras: &Volume) -> Result<[usize; 3]> {
        match (self.spacing, self.size) {
            (Some(spacing), _) => ras.shape_at(spacing),
            (None, Some(size)) => {
                let shape = [size.width, size.height, ras.shape[2]];
                ras.check_resampling(shape, "size", &format!("{} x {}", size.height, size.width))?;
                Ok(shape)
            }
            (None, None) => Ok(ras.shape),
        }
    }

    /// A channel on the model's grid, windowed where the model has a window.
    fn on_grid(&self, ras: Volume, shape: [usize; 3], channel: usize, warnings: &mut Vec<String>) -> Volume {
        let window = self.window.as_ref().map(|window| window.of(channel));
        warnings.extend(window.and_then(|window| hints::hounsfield(&ras.data, window)));
        let mut on_grid = if shape == ras.shape { ras } else { ras.resample(shape) };
        if let Some([low, high]) = window {
            let (low, scale) = (low as f32, 1.0 / (high - low) as f32);
            on_grid.data.par_iter_mut().for_each(|v| *v = ((*v - low) * scale).clamp(0.0, 1.0));
        }
        on_grid
    }
}

impl PreparedVolume {
    /// Number of slices.
    pub fn len(&self) -> usize {
        self.channels[0].shape[2]
    }

    /// Whether there is no slice; never so.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows and columns of every slice.
    pub fn size(&self) -> (usize, usize) {
        (self.channels[0].shape[1], self.channels[0].shape[0])
    }

    /// Signs that the volume is not what the model was made for: values that are no HU, voxel sizes that leave little of
    /// it. The texts do not name the file; what was doubtful in the file itself is in [`Volume::warnings`].
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Distance in mm between columns, rows and slices.
    pub fn spacing(&self) -> [f64; 3] {
        self.channels[0].spacing()
    }

    /// The network's input for slice `z`: `[channels, height, width]`, with the neighbours below and above
    /// as first and last channel where the layout is "slices" (the end slices are their own neighbours), and each volume's
    /// slice where it is "channels".
    ///
    /// # Errors
    /// [`Error::Shape`] when there is no slice `z`.
    pub fn slice(&self, z: usize) -> Result<Image> {
        let mut image = self.values(z)?;
        self.preprocessor.normalize_unit(&mut image);
        Ok(image)
    }

    /// The volumes on the model's grid before normalisation, one for each file of the case.
    pub(crate) fn channels(&self) -> &[Volume] {
        &self.channels
    }

    /// The slice's channels before normalisation: values from 0 to 1 where the model has a window.
    pub(crate) fn values(&self, z: usize) -> Result<Image> {
        if z >= self.len() {
            return Err(Error::Shape(format!("there is no slice {z} of {}", self.len())));
        }
        let first = &self.channels[0];
        let planes: Vec<(&Volume, usize)> = match self.preprocessor.layout {
            Layout::Gray => vec![(first, z)],
            Layout::Rgb => vec![(first, z); 3],
            Layout::Slices => {
                [z.saturating_sub(1), z, (z + 1).min(self.len() - 1)].map(|k| (first, k)).to_vec()
            }
            Layout::Channels => self.channels.iter().map(|channel| (channel, z)).collect(),
        };
        let (height, width) = self.size();
        let data = planes.iter().flat_map(|&(volume, k)| displayed(volume, k)).collect();
        Image::new(planes.len(), height, width, data)
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
        let fine = (1..=255).contains(&classes) && probabilities.iter().all(fits);
        if probabilities.len() != self.len() || !fine {
            return Err(Error::Shape(format!(
                "probabilities for {} slices of {height} x {width} pixels and the same 1 to 255 classes are needed",
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
