//! The two arrays everything else exchanges: float planes for the network and class ids per pixel.

use crate::{Error, Result};

/// Float planes `[channels, height, width]`, planar, row-major: the network's input after preprocessing.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Number of planes.
    pub channels: usize,
    /// Rows of a plane.
    pub height: usize,
    /// Columns of a plane.
    pub width: usize,
    /// Values, `data[(c * height + y) * width + x]`.
    pub data: Vec<f32>,
}

impl Image {
    /// Planes from their values.
    ///
    /// # Errors
    /// [`Error::Shape`] when `data` does not hold `channels * height * width` values.
    pub fn new(channels: usize, height: usize, width: usize, data: Vec<f32>) -> Result<Self> {
        check_len("an image", data.len(), &[channels, height, width])?;
        Ok(Self { channels, height, width, data })
    }

    /// Planes filled with one value.
    pub fn filled(channels: usize, height: usize, width: usize, value: f32) -> Self {
        Self { channels, height, width, data: vec![value; channels * height * width] }
    }

    /// The values of plane `channel`, `[height, width]`.
    ///
    /// # Panics
    /// When `channel` is not below `channels`.
    pub fn plane(&self, channel: usize) -> &[f32] {
        let area = self.height * self.width;
        &self.data[channel * area..(channel + 1) * area]
    }

    /// The values of plane `channel`, `[height, width]`, to be changed in place.
    ///
    /// # Panics
    /// When `channel` is not below `channels`.
    pub fn plane_mut(&mut self, channel: usize) -> &mut [f32] {
        let area = self.height * self.width;
        &mut self.data[channel * area..(channel + 1) * area]
    }
}

/// Class ids `[height, width]`, row-major; 0 is the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelMap {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Class ids, `data[y * width + x]`.
    pub data: Vec<u8>,
}

impl LabelMap {
    /// A label map from its values.
    ///
    /// # Errors
    /// [`Error::Shape`] when `data` does not hold `height * width` values.
    pub fn new(height: usize, width: usize, data: Vec<u8>) -> Result<Self> {
        check_len("a label map", data.len(), &[height, width])?;
        Ok(Self { height, width, data })
    }

    /// A label map of background only.
    pub fn empty(height: usize, width: usize) -> Self {
        Self { height, width, data: vec![0; height * width] }
    }
}

/// `len` must be the product of `shape`; a product that overflows fits nothing.
fn check_len(what: &str, len: usize, shape: &[usize]) -> Result<()> {
    let needed = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    if needed == Some(len) {
        return Ok(());
    }
    Err(Error::Shape(format!("{what} of shape {shape:?} cannot be made of {len} values")))
}
