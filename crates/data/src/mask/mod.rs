//! Masks as files: class ids, one per pixel.

use std::path::Path;

use crate::picture::write_png;
use crate::{LabelMap, Result, Size};

mod raw;
mod reader;
mod table;
mod white;

pub(crate) use reader::Tally;
pub use reader::{IGNORED, Mask, MaskOptions, MaskReader};
pub use table::{MaskColors, MaskValues};
pub(crate) use white::White;

/// Colours of the first classes, told apart by people with any colour vision (Okabe and Ito, "Color
/// Universal Design", 2008), the background first.
const COLORS: [[u8; 3]; 8] = [
    [0, 0, 0],
    [230, 159, 0],
    [86, 180, 233],
    [0, 158, 115],
    [240, 228, 66],
    [0, 114, 178],
    [213, 94, 0],
    [204, 121, 167],
];

/// The colour of a class for which none is configured; 0 is black.
pub fn default_color(class: u8) -> [u8; 3] {
    if class == 0 {
        return COLORS[0];
    }
    let round = (class - 1) / 7;
    // Later rounds repeat the colours, darker each time.
    COLORS[1 + usize::from((class - 1) % 7)].map(|v| (f32::from(v) * 0.85f32.powi(i32::from(round))) as u8)
}

pub(crate) fn color_of(class: u8, palette: &[[u8; 3]]) -> [u8; 3] {
    palette.get(usize::from(class)).copied().unwrap_or_else(|| default_color(class))
}

/// Writes a mask as an indexed PNG, atomically: a pixel's value is its class id, the palette its colour.
///
/// `palette[k]` is the colour of class `k` (0 is the background); classes beyond it have
/// [`default_color`].
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) when the file cannot be written.
///
/// ```
/// use unet3p_data::{LabelMap, read_mask, write_mask};
/// # let dir = tempfile::tempdir().unwrap();
/// let path = dir.path().join("mask.png");
/// let mask = LabelMap::new(1, 3, vec![0, 1, 2])?;
/// write_mask(&path, &mask, &[[0, 0, 0], [255, 0, 0]])?;
/// assert_eq!(read_mask(&path)?, mask);
/// # Ok::<(), unet3p_data::Error>(())
/// ```
pub fn write_mask(path: &Path, mask: &LabelMap, palette: &[[u8; 3]]) -> Result<()> {
    let highest = mask.data.iter().copied().max().unwrap_or(0);
    let entries = (usize::from(highest) + 1).max(palette.len()).clamp(2, 256);
    let colors: Vec<u8> = (0..entries).flat_map(|class| color_of(class as u8, palette)).collect();
    let size = Size { height: mask.height, width: mask.width };
    write_png(path, size, png::ColorType::Indexed, Some(colors), &mask.data)
}

/// Reads a mask whose values are class ids from 0 to 255: [`MaskReader::read`] without settings.
///
/// # Errors
/// As [`MaskReader::read`].
pub fn read_mask(path: &Path) -> Result<LabelMap> {
    Ok(MaskReader::default().read(path)?.labels)
}
