//! Masks as files: class ids, one per pixel.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::DynamicImage;

use crate::capacity::check_capacity;
use crate::decode::{check_size, decode};
use crate::picture::write_png;
use crate::{Error, LabelMap, Result, Size};

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
/// [`Error::Io`] when the file cannot be written.
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

/// Class ids as an 8-bit gray PNG.
pub(crate) fn write_gray_png(path: &Path, mask: &LabelMap) -> Result<()> {
    let size = Size { height: mask.height, width: mask.width };
    write_png(path, size, png::ColorType::Grayscale, None, &mask.data)
}

/// Reads a mask: the indices of an indexed PNG, or the values of a gray image (PNG of up to 8 bits a
/// pixel, 8-bit TIFF).
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened, [`Error::File`] when it is broken, too large, or has
/// colours instead of class ids.
pub fn read_mask(path: &Path) -> Result<LabelMap> {
    if let Some(mask) = read_png(path)? {
        return Ok(mask);
    }
    match decode(path)? {
        DynamicImage::ImageLuma8(gray) => {
            LabelMap::new(gray.height() as usize, gray.width() as usize, gray.into_raw())
        }
        other => Err(not_ids(path, &format!("{:?}", other.color()))),
    }
}

/// Values as a mask's file holds them, `[height, width]`: not yet class ids.
pub(crate) struct RawMask {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) values: Vec<u16>,
}

/// Reads the values of any file that people keep masks in: what [`read_mask`] takes, 16-bit gray, and colour whose
/// three channels are equal. Transparency is dropped.
pub(crate) fn read_raw_mask(path: &Path) -> Result<RawMask> {
    if let Some(mask) = read_png(path)? {
        let values = mask.data.into_iter().map(u16::from).collect();
        return Ok(RawMask { height: mask.height, width: mask.width, values });
    }
    let decoded = decode(path)?;
    let (height, width) = (decoded.height() as usize, decoded.width() as usize);
    let values = match &decoded {
        DynamicImage::ImageLuma8(gray) => Some(gray.iter().copied().map(u16::from).collect()),
        DynamicImage::ImageLumaA8(gray) => Some(gray.pixels().map(|pixel| u16::from(pixel.0[0])).collect()),
        DynamicImage::ImageLuma16(gray) => Some(gray.to_vec()),
        DynamicImage::ImageRgb8(rgb) => rgb.pixels().map(|pixel| equal(pixel.0)).collect(),
        DynamicImage::ImageRgba8(rgba) => {
            rgba.pixels().map(|&image::Rgba([r, g, b, _])| equal([r, g, b])).collect()
        }
        _ => None,
    };
    match values {
        Some(values) => Ok(RawMask { height, width, values }),
        None => Err(not_ids(path, &format!("{:?}", decoded.color()))),
    }
}

/// The value of three equal channels.
fn equal([r, g, b]: [u8; 3]) -> Option<u16> {
    (r == g && g == b).then(|| u16::from(r))
}

/// The indices or values of a PNG of up to 8 bits a pixel; nothing for other files.
fn read_png(path: &Path) -> Result<Option<LabelMap>> {
    let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
    let mut reader = BufReader::new(file);
    let head = std::io::BufRead::fill_buf(&mut reader).map_err(|source| Error::io(path, "read", source))?;
    if !head.starts_with(b"\x89PNG") {
        return Ok(None);
    }
    let broken = |error: png::DecodingError| Error::file(path, format!("is a broken PNG: {error}"));
    let mut decoder = png::Decoder::new(reader);
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(broken)?;
    let info = reader.info();
    let (height, width) = (info.height as usize, info.width as usize);
    check_size(path, height, width)?;
    let (color, depth) = (info.color_type, info.bit_depth);
    if !matches!(color, png::ColorType::Indexed | png::ColorType::Grayscale)
        || depth == png::BitDepth::Sixteen
    {
        return Ok(None);
    }
    // At most 8 bits a pixel, and the size was checked: neither product overflows.
    let bits = depth as usize;
    let line = (width * bits).div_ceil(8);
    check_capacity(path, (line * height) as u64)?;
    let mut packed = vec![0; line * height];
    reader.next_frame(&mut packed).map_err(broken)?;
    let unpack = |row: &[u8], x: usize| row[x * bits / 8] >> (8 - bits - x * bits % 8) & (0xff >> (8 - bits));
    let data = packed.chunks(line).flat_map(|row| (0..width).map(|x| unpack(row, x))).collect();
    LabelMap::new(height, width, data).map(Some)
}

fn not_ids(path: &Path, found: &str) -> Error {
    Error::file(
        path,
        format!("is no mask ({found}): an indexed or 8-bit gray image with class ids is needed"),
    )
}
