//! Images in memory.

use std::io::{Read, Seek};
use std::path::Path;

use unet3p_data::{Image, Loaded, Preprocessor, Resample, resize};

use super::Segmenter;
use crate::npy::images_from;
use crate::segmentation::gray_picture;
use crate::{Error, Result, Segmentation};

impl Segmenter {
    /// Segments an image in memory, with values from 0 (black) to 1 (white) as a file would hold them: `[1, height, width]`
    /// gray, `[3, height, width]` colours, or all channels of a model of several. It is resized and normalised as files are.
    ///
    /// # Errors
    /// When it has another number of channels, no pixels or values that are not finite, the model does not say how images
    /// become its input, or what is predicted is not finite.
    ///
    /// ```
    /// use unet3p::{Image, Segmenter};
    /// # use unet3p::{DType, Device, Preprocessor, UNet3Plus, UNet3PlusConfig};
    /// # let model = UNet3Plus::init(&UNet3PlusConfig::builder().base_filters(2).build()?, 1, DType::F32, &Device::Cpu)?;
    /// # let segmenter = Segmenter::new("m", model, Some(Preprocessor::default()), &Device::Cpu)?;
    /// let gray = Image::new(1, 20, 30, vec![0.5; 600])?;
    /// let found = segmenter.segment_image(&gray)?;
    /// assert_eq!((found.mask.height, found.mask.width), (20, 30));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn segment_image(&self, image: &Image) -> Result<Segmentation> {
        self.segment_loaded(self.prepares()?.prepare_image(image)?)
    }

    /// Segments images as [`segment_image`](Self::segment_image) does, of any sizes. They are done one after the other: each
    /// keeps all threads busy, and memory is that of one.
    ///
    /// # Errors
    /// That of the first image that cannot be segmented.
    pub fn segment_batch(&self, images: &[Image]) -> Result<Vec<Segmentation>> {
        images.iter().map(|image| self.segment_image(image)).collect()
    }

    /// Segments a PNG, JPEG or TIFF from a stream, such as an upload's bytes in a `Cursor`. `name` is for messages.
    ///
    /// # Errors
    /// As [`segment`](Self::segment), with `name` for the file.
    pub fn segment_stream(&self, name: impl AsRef<Path>, stream: impl Read + Seek) -> Result<Segmentation> {
        let name = name.as_ref();
        self.segment_loaded(self.prepares()?.read_image(name, stream)?).map_err(|e| e.in_input(name))
    }

    /// Segments the images of an `.npy` array from a stream, as [`segment_npy`](Self::segment_npy) does. `name` is for
    /// messages.
    ///
    /// # Errors
    /// As [`segment_npy`](Self::segment_npy), with `name` for the file.
    pub fn segment_npy_stream(&self, name: impl AsRef<Path>, stream: impl Read) -> Result<Vec<Segmentation>> {
        let name = name.as_ref();
        let images = images_from(name, stream, self.config().in_channels)?;
        images.iter().map(|image| self.segment_input(image).map_err(|e| e.in_input(name))).collect()
    }

    /// Segments an image that is the network's input already: `[channels, height, width]` after preprocessing.
    ///
    /// # Errors
    /// When it has another number of channels, no pixels or values that are not finite, or what is predicted is not
    /// finite.
    pub fn segment_input(&self, image: &Image) -> Result<Segmentation> {
        let (probabilities, guess) = self.probabilities(image)?;
        let picture = gray_picture(image.plane(image.channels / 2), image.height, image.width, None);
        self.segmentation(probabilities, guess, picture, Vec::new())
    }

    pub(super) fn segment_loaded(&self, loaded: Loaded) -> Result<Segmentation> {
        let (probabilities, guess) = self.probabilities(&loaded.image)?;
        let (height, width) = loaded.original_size;
        let probabilities = resize(&probabilities, height, width, Resample::Bilinear)?;
        self.segmentation(probabilities, guess, loaded.preview, loaded.warnings)
    }

    /// How images become the network's input.
    pub(super) fn prepares(&self) -> Result<&Preprocessor> {
        self.preprocessor.as_ref().ok_or_else(|| Error::Unprepared { problem: self.lacks_preprocessor() })
    }
}
