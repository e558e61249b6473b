//! 8-bit pictures for people: previews and overlays.

use std::path::Path;

use crate::{Error, LabelMap, Result, Size, write_atomically};

/// An RGB picture of 8 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Red, green, blue, `pixels[y * width + x]`.
    pub pixels: Vec<[u8; 3]>,
}

/// How much of a class's colour covers the picture inside its outline.
const TINT: f32 = 0.3;

impl Picture {
    /// The picture with each class tinted in its colour and outlined in full colour.
    ///
    /// A pixel lies on the outline when one of its four neighbours belongs to another class. `palette[k]`
    /// is the colour of class `k`; classes beyond it have [`default_color`](crate::default_color).
    ///
    /// # Errors
    /// [`Error::Shape`] when the mask has another size.
    pub fn overlay(&self, mask: &LabelMap, palette: &[[u8; 3]]) -> Result<Self> {
        if (mask.height, mask.width) != (self.height, self.width) || mask.data.len() != self.pixels.len() {
            return Err(Error::Shape(format!(
                "a mask of {} x {} pixels does not fit a picture of {} x {}",
                mask.height, mask.width, self.height, self.width
            )));
        }
        let (height, width) = (self.height, self.width);
        let mut picture = self.clone();
        for (i, pixel) in picture.pixels.iter_mut().enumerate() {
            let class = mask.data[i];
            if class == 0 {
                continue;
            }
            let (y, x) = (i / width, i % width);
            let outline = (y > 0 && mask.data[i - width] != class)
                || (y + 1 < height && mask.data[i + width] != class)
                || (x > 0 && mask.data[i - 1] != class)
                || (x + 1 < width && mask.data[i + 1] != class);
            let color = crate::mask::color_of(class, palette);
            let share = if outline { 1.0 } else { TINT };
            for (value, color) in pixel.iter_mut().zip(color) {
                *value = (f32::from(*value) * (1.0 - share) + f32::from(color) * share).round() as u8;
            }
        }
        Ok(picture)
    }

    /// Writes an RGB PNG, atomically.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        write_rgb_png(path, Size { height: self.height, width: self.width }, &self.pixels)
    }
}

pub(crate) fn write_rgb_png(path: &Path, size: Size, pixels: &[[u8; 3]]) -> Result<()> {
    write_png(path, size, png::ColorType::Rgb, None, pixels.as_flattened())
}

/// An 8-bit PNG of any kind.
pub(crate) fn write_png(
    path: &Path,
    size: Size,
    color: png::ColorType,
    palette: Option<Vec<u8>>,
    data: &[u8],
) -> Result<()> {
    write_atomically(path, |file| {
        // Both sides come from images in memory; the encoder refuses 0.
        let side = |n: usize| u32::try_from(n).unwrap_or(0);
        let mut encoder = png::Encoder::new(file, side(size.width), side(size.height));
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        if let Some(palette) = palette {
            encoder.set_palette(palette);
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(data)?;
        Ok(writer.finish()?)
    })
}
