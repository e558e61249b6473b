//! JPEG.

use std::io::{Cursor, Read};
use std::path::Path;

use image::codecs::jpeg::JpegDecoder;
use image::{DynamicImage, ImageDecoder, Limits};

use super::stream::Stream;
use super::{Color, Header, MAX_BYTES, Orientation, Samples, Stored, broken, check_size};
use crate::{Error, Result};

/// Files with more bytes are refused: a JPEG of [`MAX_PIXELS`](super::MAX_PIXELS) that is hardly compressed.
const MAX_FILE: u64 = 1 << 29;
/// So many pixels at most are held by a byte: a block of 64 takes a bit in the least.
const PIXELS_PER_BYTE: usize = 64 * 8;

fn bytes(path: &Path, file: Stream<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|source| Error::io(path, "read", source))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::file(path, format!("is a JPEG of more than {MAX_FILE} bytes, which is not read")));
    }
    Ok(bytes)
}

/// A decoder that has read the head, and what the head says.
fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<(JpegDecoder<Cursor<&'a [u8]>>, Header)> {
    let mut decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(|error| unreadable(path, error))?;
    let (width, height) = decoder.dimensions();
    let (height, width) = (height as usize, width as usize);
    check_size(path, height, width)?;
    let orientation = decoder.orientation().map_or(1, image::metadata::Orientation::to_exif);
    Ok((decoder, Header { height, width, orientation: Orientation::of_tag(u64::from(orientation)) }))
}

pub(super) fn header(path: &Path, file: Stream<'_>) -> Result<Header> {
    let bytes = bytes(path, file)?;
    Ok(open(path, &bytes)?.1)
}

pub(super) fn read(path: &Path, file: Stream<'_>) -> Result<Stored> {
    let bytes = bytes(path, file)?;
    check_end(path, &bytes)?;
    let (mut decoder, Header { height, width, orientation }) = open(path, &bytes)?;
    if height * width > PIXELS_PER_BYTE * bytes.len() {
        return Err(broken(path, format!("{} bytes cannot hold {height} x {width} pixels", bytes.len())));
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    let limited = decoder.set_limits(limits);
    let decoded = limited.and_then(|()| DynamicImage::from_decoder(decoder));
    let (color, samples) = match decoded.map_err(|error| unreadable(path, error))? {
        DynamicImage::ImageLuma8(gray) => (Color::Gray, gray.into_raw()),
        other => (Color::Rgb, other.into_rgb8().into_raw()),
    };
    let samples = Samples::Eight(samples);
    Ok(Stored { height, width, color, samples, alpha: None, bits: 8, orientation, is_lossy: true })
}

fn unreadable(path: &Path, error: image::ImageError) -> Error {
    match error {
        image::ImageError::Unsupported(_) => {
            Error::file(path, format!("is a JPEG of a kind that is not read, save it as PNG: {error}"))
        }
        _ => broken(path, error),
    }
}

/// Refuses a JPEG without its end marker: the decoder fills what is missing with gray and says nothing.
///
/// Markers are walked segment by segment, as thumbnails inside a segment have end markers of their own.
fn check_end(path: &Path, bytes: &[u8]) -> Result<()> {
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
    Err(broken(path, "a JPEG without its end"))
}
