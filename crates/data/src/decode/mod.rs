//! Decoding image files, told apart by content, with limits.

use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use crate::{Error, Preprocessor, Result, guard, open_file};

mod exif;
mod fax;
mod jpeg;
mod png;
mod stored;
mod stream;
mod tiff;
mod unpack;

use stream::Stream;

pub(crate) use stored::{Color, Dark, Orientation, Raster, Samples, Stored, palette_color};

/// Images with more pixels are refused: 2^27, such as 16384 x 8192.
pub const MAX_PIXELS: usize = 1 << 27;
/// What a decoder may allocate, in bytes: [`MAX_PIXELS`] of 16-bit RGBA.
const MAX_BYTES: u64 = 8 * MAX_PIXELS as u64;

/// What the head of an image file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    height: usize,
    width: usize,
    pub(crate) orientation: Orientation,
}

impl Header {
    /// Height and width as viewers show the image.
    pub(crate) fn size(self) -> (usize, usize) {
        let Self { height, width, orientation } = self;
        if orientation.swaps_sides() { (width, height) } else { (height, width) }
    }

    /// Height and width as they are stored.
    pub(crate) fn stored_size(self) -> (usize, usize) {
        (self.height, self.width)
    }
}

enum Format {
    Png,
    Jpeg,
    Tiff,
}

/// Opens a file and tells what it is by its first bytes.
fn open(path: &Path) -> Result<(Format, Stream<'static>)> {
    format(path, open_file(path)?)
}

/// Tells what a stream is by its first bytes.
fn format<'a>(path: &Path, stream: impl Read + Seek + 'a) -> Result<(Format, Stream<'a>)> {
    let mut file: Stream<'a> = BufReader::new(Box::new(stream));
    let head = file.fill_buf().map_err(|source| Error::io(path, "read", source))?;
    let format = match head {
        [0x89, b'P', b'N', b'G', ..] => Format::Png,
        [0xff, 0xd8, 0xff, ..] => Format::Jpeg,
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Format::Tiff,
        _ => return Err(Error::file(path, "is no PNG, JPEG or TIFF image")),
    };
    Ok((format, file))
}

/// The size and the orientation of a PNG, JPEG or TIFF, without its pixels.
pub(crate) fn header(path: &Path) -> Result<Header> {
    guard(path, || match open(path)? {
        (Format::Png, file) => png::header(path, file),
        (Format::Jpeg, file) => jpeg::header(path, file),
        (Format::Tiff, file) => tiff::header(path, file),
    })
}

/// Decodes PNG, JPEG or TIFF to the values that are stored, turned as the file's orientation says.
pub(crate) fn stored(path: &Path) -> Result<Stored> {
    stored_in(path, || open(path))
}

/// The values that are stored in what `open` opens.
fn stored_in<'a>(path: &Path, open: impl FnOnce() -> Result<(Format, Stream<'a>)>) -> Result<Stored> {
    let stored = guard(path, || match open()? {
        (Format::Png, file) => png::read(path, file),
        (Format::Jpeg, file) => jpeg::read(path, file),
        (Format::Tiff, file) => tiff::read(path, file),
    });
    Ok(stored?.turned())
}

/// Decodes PNG, JPEG or TIFF of a stream to what viewers show. `name` is for messages.
pub(crate) fn decode_stream(name: &Path, stream: impl Read + Seek) -> Result<Raster> {
    stored_in(name, || format(name, stream))?.into_raster(name)
}

/// Decodes PNG, JPEG or TIFF to what viewers show.
pub(crate) fn decode(path: &Path) -> Result<Raster> {
    stored(path)?.into_raster(path)
}

/// Refuses images that are empty or larger than is sensible, before their pixels are allocated.
fn check_size(path: &Path, height: usize, width: usize) -> Result<()> {
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

/// A file whose content is not what its head promises.
fn broken(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::file(path, format!("is broken or truncated: {why}"))
}
