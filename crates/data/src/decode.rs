//! Decoding image files, told apart by content, with limits.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use tiff::decoder::Decoder;
use tiff::tags::Tag;

use crate::capacity::{check_capacity, check_tiff_lists};
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
    match format {
        ImageFormat::Jpeg => check_jpeg_end(path)?,
        ImageFormat::Tiff => {
            check_tiff_lists(path)?;
            check_single_page(path)?;
        }
        _ => {}
    }
    let mut reader = ImageReader::with_format(file, format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(Preprocessor::MAX_SIDE as u32);
    limits.max_image_height = Some(Preprocessor::MAX_SIDE as u32);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    check_size(path, height as usize, width as usize)?;
    check_capacity(path, decoder.total_bytes())?;
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

/// Refuses a JPEG without its end marker: the decoder fills what is missing with gray and says nothing.
///
/// Markers are walked segment by segment, as thumbnails inside a segment have end markers of their own.
fn check_jpeg_end(path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).map_err(|source| Error::io(path, "read", source))?;
    let mut i = 2;
    while let Some(&[byte, marker]) = bytes.get(i..i + 2) {
        i += match (byte, marker) {
            (0xff, 0xd9) => return Ok(()),
            // Compressed data, escaped 0xff, restart markers.
            (..=0xfe, _) | (0xff, 0xff) => 1,
            (0xff, 0x00 | 0x01 | 0xd0..=0xd8) => 2,
            _ => 2 + bytes.get(i + 2..i + 4).map_or(0, |len| usize::from(len[0]) << 8 | usize::from(len[1])),
        };
    }
    Err(Error::file(path, "is broken or truncated: a JPEG without its end"))
}

/// Refuses a TIFF of several pages: the decoder reads the first and says nothing of the others. What the file calls a
/// smaller version or a mask of another page is no page.
fn check_single_page(path: &Path) -> Result<()> {
    let file = File::open(path).map_err(|source| Error::io(path, "open", source))?;
    // What is broken here is named when it is decoded.
    let Ok(mut decoder) = Decoder::new(BufReader::new(file)) else { return Ok(()) };
    let mut pages = 1;
    while decoder.more_images() && decoder.next_image().is_ok() {
        let kind = decoder.find_tag_unsigned(Tag::NewSubfileType);
        pages += usize::from(matches!(kind, Ok(None | Some(0u32 | 2))));
        if pages > 1 {
            return Err(Error::file(
                path,
                "is a TIFF of several pages: save each page as an image of its own",
            ));
        }
    }
    Ok(())
}
