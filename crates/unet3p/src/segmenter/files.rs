//! Files in, masks out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use unet3p_data::{Nifti, Preprocessor, Volume};

use super::Segmenter;
use crate::npy::read_npy_images;
use crate::{Error, Result, Segmentation, VolumeSegmentation};

impl Segmenter {
    /// Segments an image file: PNG, JPEG or TIFF, of any size, 8 or 16 bits, gray or colour. For a model of several
    /// channels, each a file of its own, it is one of `CASE_0000.png`, `CASE_0001.png`, ..., and the others lie beside it.
    ///
    /// # Errors
    /// When a file cannot be read or a channel is missing, the model does not say how images become its input, or the
    /// network's probabilities are NaN or infinite.
    pub fn segment(&self, path: impl AsRef<Path>) -> Result<Segmentation> {
        let path = path.as_ref();
        self.segment_loaded(self.preprocessing(path)?.load_image(path)?).map_err(|e| e.in_input(path))
    }

    /// Segments the image files of one case: one for each channel of the model, in the order of
    /// [`Preprocessor::channel_names`], or the only one.
    ///
    /// # Errors
    /// As [`segment`](Self::segment), and for another number of files.
    pub fn segment_files(&self, files: &[PathBuf]) -> Result<Segmentation> {
        let first = files.first().map_or(Path::new(""), PathBuf::as_path);
        self.segment_loaded(self.preprocessing(first)?.load_case(files)?).map_err(|e| e.in_input(first))
    }

    /// Segments the images in a `.npy` file of float32 values `[channels, height, width]` or
    /// `[images, channels, height, width]`: the network's input as it is, without preprocessing.
    ///
    /// # Errors
    /// When the file cannot be read, is of another type or shape, or holds values that are not finite, or the network's
    /// probabilities are not.
    pub fn segment_npy(&self, path: impl AsRef<Path>) -> Result<Vec<Segmentation>> {
        read_npy_images(path.as_ref(), self.config().in_channels)?
            .iter()
            .map(|image| self.segment_input(image).map_err(|e| e.in_input(path.as_ref())))
            .collect()
    }

    /// Segments a NIfTI volume slice by slice, and brings the mask back to the volume's own grid. For a model of several
    /// channels it is one of `CASE_0000.nii.gz`, `CASE_0001.nii.gz`, ..., and the others lie beside it. `progress` is
    /// called with the number of slices done and their total.
    ///
    /// # Errors
    /// When a file cannot be read or a channel is missing, or the model does not say how volumes become its input.
    pub fn segment_volume_file(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(usize, usize),
    ) -> Result<VolumeSegmentation> {
        let files = self.preprocessing(path.as_ref())?.case_files(path.as_ref())?;
        self.segment_volume_files(&files, progress)
    }

    /// Segments the NIfTI volumes of one case: one for each channel of the model, in the order of
    /// [`Preprocessor::channel_names`] and on one grid, or the only one.
    ///
    /// # Errors
    /// As [`segment_volume_file`](Self::segment_volume_file), and for another number of files.
    pub fn segment_volume_files(
        &self,
        files: &[PathBuf],
        progress: impl FnMut(usize, usize),
    ) -> Result<VolumeSegmentation> {
        let first = files.first().map_or(Path::new(""), PathBuf::as_path);
        self.preprocessing(first)?.check_files(files)?;
        let read = files.iter().map(|path| Nifti::read(path)).collect::<Result<Vec<_>, _>>()?;
        let (volumes, formats): (Vec<Volume>, Vec<Nifti>) = read.into_iter().unzip();
        // The mask lies on the first one's grid.
        let writer = Arc::new(formats.into_iter().next().unwrap_or_default());
        self.segment_owned(volumes, writer, progress).map_err(|e| match e {
            Error::Data(e @ (unet3p_data::Error::Shape(_) | unet3p_data::Error::Setting { .. })) => {
                Error::input(first, e.to_string())
            }
            e => e.in_input(first),
        })
    }

    fn preprocessing(&self, input: &Path) -> Result<&Preprocessor> {
        self.preprocessor.as_ref().ok_or_else(|| Error::input(input, self.lacks_preprocessor()))
    }
}
