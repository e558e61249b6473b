//! Decoding image files, told apart by content, with limits.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use crate::{Error, Preprocessor, Result};

/// Images with more pixels are refused: 2^27, such as 16384 x 8192.
pub const MAX_PIXELS: usize = 1 << 27;
/// What a decoder may allocate, in bytes: [`MAX_PIXELS`] of 16-bit RGBA.
const MAX_BYTES: u64 = 8 * MAX_PIXELS as u64;

/// Decodes PNG, JPEG or TIFF.
pub(crate) fn decode(path: &Path) -> Result<DynamicImage> {
    let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
    let mut file = BufReader::new(file);
    let head = file.fill_buf().map_err(|source| Error::io(path, "read", source))?;
    let Ok(format) = image::guess_format(head) else {
        return Err(Error::file(path, "is no PNG, JPEG or TIFF image"));
    };
    let broken = |error: image::ImageError| match error {
        image::ImageError::Unsupported(_) => {
            Error::file(path, format!("is no PNG, JPEG or TIFF image that can be read: {error}"))
        }
        _ => Error::file(path, format!("is broken or truncated: {error}")),
    };
    let mut reader = ImageReader::with_format(file, format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(Preprocessor::MAX_SIDE as u32);
    limits.max_image_height = Some(Preprocessor::MAX_SIDE as u32);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    check_size(path, height as usize, width as usize)?;
    DynamicImage::from_decoder(decoder).map_err(broken)
}

/// Refuses images that are empty or larger than is sensible, before their pixels are allocated.
pub(crate) fn check_size(path: &Path, height: usize, width: usize) -> Result<()> {
    let side = Preprocessor::MAX_SIDE;
    if height == 0 || width == 0 {
        return Err(Error::file(path, "has no pixels"));
    }
    if height > side || width > side || height * width > MAX_PIXELS {
        return Err(Error::file(
            path,
            format!("has {height} x {width} pixels; at most {side} a side and {MAX_PIXELS} in all are read"),
        ));
    }
    Ok(())
}
