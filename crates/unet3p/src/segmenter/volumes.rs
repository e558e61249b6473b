//! Volumes in memory, slice by slice.

use std::sync::Arc;

use unet3p_data::{Image, Nifti, Preprocessor, Volume, VolumeWriter};

use super::{Guess, Segmenter};
use crate::segmentation::class_areas;
use crate::{Result, VolumeSegmentation};

/// What the network finds in a volume.
struct Found {
    mask: Volume<u8>,
    /// Probabilities of each slice.
    slices: Vec<Image>,
    guesses: Vec<Guess>,
    warnings: Vec<String>,
}

impl Segmenter {
    /// Segments a volume slice by slice, and brings the mask back to the volume's own grid. `progress` is called with the
    /// number of slices done and their total.
    ///
    /// # Errors
    /// When the model does not say how volumes become its input, or takes several channels.
    ///
    /// ```
    /// use unet3p::{Segmenter, Volume};
    /// # use unet3p::{DType, Device, Preprocessor, UNet3Plus, UNet3PlusConfig};
    /// # let config = UNet3PlusConfig::builder().base_filters(2).build()?;
    /// # let model = UNet3Plus::init(&config, 1, DType::F32, &Device::Cpu)?;
    /// # let how = Preprocessor::for_slices([-200.0, 250.0], None);
    /// # let segmenter = Segmenter::new("m", model, Some(how), &Device::Cpu)?;
    /// let grid = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    /// let volume = Volume::new(vec![40.0; 16 * 16 * 2], [16, 16, 2], grid)?;
    /// let found = segmenter.segment_volume(&volume, |_, _| {})?;
    /// assert_eq!(found.mask.shape, [16, 16, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn segment_volume(
        &self,
        volume: &Volume,
        progress: impl FnMut(usize, usize),
    ) -> Result<VolumeSegmentation> {
        self.segment_channels(std::slice::from_ref(volume), progress)
    }

    /// Segments the volumes of one case, one for each channel of the model, in the order of
    /// [`Preprocessor::channel_names`] and on one grid. `progress` is called with the number of slices done and their
    /// total.
    ///
    /// # Errors
    /// When the model does not say how volumes become its input, takes another number of channels, or the volumes do not
    /// lie on one grid.
    pub fn segment_channels(
        &self,
        volumes: &[Volume],
        progress: impl FnMut(usize, usize),
    ) -> Result<VolumeSegmentation> {
        let found = self.find(volumes, progress)?;
        // Not empty: it was prepared.
        Ok(self.found_in(volumes[0].clone(), Arc::new(Nifti::default()), found))
    }

    /// As [`segment_channels`](Self::segment_channels), without a copy of a volume, for a mask that `writer` will write.
    pub(super) fn segment_owned(
        &self,
        mut volumes: Vec<Volume>,
        writer: Arc<dyn VolumeWriter>,
        progress: impl FnMut(usize, usize),
    ) -> Result<VolumeSegmentation> {
        let found = self.find(&volumes, progress)?;
        Ok(self.found_in(volumes.swap_remove(0), writer, found))
    }

    fn find(&self, volumes: &[Volume], mut progress: impl FnMut(usize, usize)) -> Result<Found> {
        let prepared = self.prepares()?.prepare_channels(volumes)?;
        let mut slices = Vec::with_capacity(prepared.len());
        let mut guesses: Vec<Guess> = Vec::new();
        for z in 0..prepared.len() {
            progress(z, prepared.len());
            let (probabilities, guess) = self.probabilities(&prepared.slice(z)?)?;
            slices.push(probabilities);
            guesses.extend(guess);
        }
        progress(prepared.len(), prepared.len());
        let mask = prepared.restore(&slices, self.rule())?;
        let mut warnings: Vec<String> = Vec::new();
        for warning in volumes.iter().flat_map(|volume| &volume.warnings).chain(prepared.warnings()) {
            if !warnings.contains(warning) {
                warnings.push(warning.clone());
            }
        }
        Ok(Found { mask, slices, guesses, warnings })
    }

    fn found_in(
        &self,
        volume: Volume,
        writer: Arc<dyn VolumeWriter>,
        Found { mask, slices, guesses, warnings }: Found,
    ) -> VolumeSegmentation {
        let window = self.preprocessor.as_ref().and_then(|preprocessor| preprocessor.window.as_ref());
        VolumeSegmentation {
            classes: class_areas(&mask.data, &self.classes()),
            mask,
            warnings,
            volume,
            probabilities: slices,
            presence: guesses.iter().map(|guess| guess.presence).reduce(f32::max),
            present: guesses.iter().map(|guess| guess.present).reduce(|a, b| a || b),
            window: window.map(|window| window.of(0)),
            writer,
            palette: self.palette(),
        }
    }

    /// Why nothing but the network's input itself can be segmented.
    pub(super) fn lacks_preprocessor(&self) -> String {
        format!(
            "the model {} has no {}, so only .npy arrays can be segmented",
            self.name,
            Preprocessor::FILE_NAME
        )
    }
}
