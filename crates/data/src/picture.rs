//! 8-bit pictures for people: previews and overlays.

use std::path::Path;

use crate::{Error, Image, LabelMap, Layout, Result, Size, write_atomically};

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
    /// What a person sees of planes with values from 0 to 1: colours, of three slices the middle one, of several channels
    /// the first.
    ///
    /// # Errors
    /// [`Error::Shape`] for a number of planes that the layout does not have, or of values.
    pub fn from_planes(planes: &Image, layout: Layout) -> Result<Self> {
        let area = planes.height * planes.width;
        let fits = match layout {
            Layout::Channels => planes.channels > 0,
            _ => [1, 3].contains(&planes.channels),
        };
        if !fits || planes.data.len() != planes.channels * area {
            return Err(Error::Shape(format!(
                "{} values cannot be shown as {} planes of {} x {}",
                planes.data.len(),
                planes.channels,
                planes.height,
                planes.width
            )));
        }
        let shown = match (planes.channels, layout) {
            (1, _) | (_, Layout::Channels) => [0, 0, 0],
            (_, Layout::Slices) => [1, 1, 1],
            _ => [0, 1, 2],
        };
        let byte = |value: f32| (value * 255.0).round() as u8;
        let pixels = (0..area).map(|i| shown.map(|c| byte(planes.data[c * area + i]))).collect();
        Ok(Self { height: planes.height, width: planes.width, pixels })
    }

    /// Pictures beside each other, `gap` white columns between them, aligned at the top.
    pub fn side_by_side(pictures: &[Self], gap: usize) -> Self {
        let height = pictures.iter().map(|picture| picture.height).max().unwrap_or(0);
        let mut pixels = Vec::new();
        for y in 0..height {
            for (i, picture) in pictures.iter().enumerate() {
                pixels.extend(std::iter::repeat_n([255; 3], if i > 0 { gap } else { 0 }));
                match picture.pixels.chunks(picture.width.max(1)).nth(y) {
                    Some(row) => pixels.extend(row),
                    None => pixels.extend(std::iter::repeat_n([255; 3], picture.width)),
                }
            }
        }
        let width = pixels.len() / height.max(1);
        Self { height, width, pixels }
    }

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

    /// The picture as an RGB PNG.
    ///
    /// # Errors
    /// [`Error::Shape`] for a picture that is empty, or whose pixels are not height times width.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let size = Size { height: self.height, width: self.width };
        let mut file = Vec::new();
        encode_png(&mut file, size, png::ColorType::Rgb, None, self.pixels.as_flattened())
            .map_err(|error| Error::Shape(format!("a picture cannot be encoded: {error}")))?;
        Ok(file)
    }

    /// Writes an RGB PNG, atomically.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<()> {
        let size = Size { height: self.height, width: self.width };
        write_png(path, size, png::ColorType::Rgb, None, self.pixels.as_flattened())
    }
}

/// Writes an 8-bit PNG of any kind, atomically.
pub(crate) fn write_png(
    path: &Path,
    size: Size,
    color: png::ColorType,
    palette: Option<Vec<u8>>,
    data: &[u8],
) -> Result<()> {
    write_atomically(path, |file| encode_png(file, size, color, palette, data))
}

/// An 8-bit PNG of any kind, to anywhere.
pub(crate) fn encode_png(
    file: impl std::io::Write,
    size: Size,
    color: png::ColorType,
    palette: Option<Vec<u8>>,
    data: &[u8],
) -> std::io::Result<()> {
    encode(file, size, (color, png::BitDepth::Eight), palette, data)
}

/// A 16-bit gray PNG, to anywhere.
pub(crate) fn encode_gray16(file: impl std::io::Write, size: Size, values: &[u16]) -> std::io::Result<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
    encode(file, size, (png::ColorType::Grayscale, png::BitDepth::Sixteen), None, &bytes)
}

fn encode(
    file: impl std::io::Write,
    size: Size,
    (color, depth): (png::ColorType, png::BitDepth),
    palette: Option<Vec<u8>>,
    data: &[u8],
) -> std::io::Result<()> {
    // Both sides come from images in memory; the encoder refuses 0.
    let side = |n: usize| u32::try_from(n).unwrap_or(0);
    let mut encoder = png::Encoder::new(file, side(size.width), side(size.height));
    encoder.set_color(color);
    encoder.set_depth(depth);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(data)?;
    Ok(writer.finish()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(height: usize, width: usize, value: u8) -> Picture {
        Picture { height, width, pixels: vec![[value; 3]; height * width] }
    }

    #[test]
    fn pictures_beside_each_other() {
        let row = Picture::side_by_side(&[filled(1, 2, 7), filled(2, 1, 9)], 1);
        assert_eq!((row.height, row.width), (2, 4));
        let values: Vec<u8> = row.pixels.iter().map(|pixel| pixel[0]).collect();
        assert_eq!(values, [7, 7, 255, 9, 255, 255, 255, 9]);
        assert_eq!(Picture::side_by_side(&[], 1).pixels, Vec::<[u8; 3]>::new());
    }

    #[test]
    fn planes_become_pictures_and_those_become_png() {
        let planes = Image::new(3, 1, 2, vec![0.0, 1.0, 0.2, 0.4, 1.0, 0.0]).unwrap();
        assert_eq!(Picture::from_planes(&planes, Layout::Slices).unwrap().pixels, [[51; 3], [102; 3]]);
        let picture = Picture::from_planes(&planes, Layout::Rgb).unwrap();
        assert_eq!(picture.pixels, [[0, 51, 255], [255, 102, 0]]);
        let read = image::load_from_memory(&picture.to_png().unwrap()).unwrap();
        assert_eq!(read.to_rgb8().into_raw(), picture.pixels.as_flattened());
        assert!(Picture::from_planes(&Image::filled(2, 1, 1, 0.0), Layout::Rgb).is_err());
        assert!(filled(0, 0, 0).to_png().is_err());
    }
}
