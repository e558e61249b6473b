//! TIFF and BigTIFF: unsigned samples of up to 16 bits, gray, RGB or with a palette, in strips or tiles.
//!
//! A reader of our own: masks need the values that are stored, which the `tiff` crate inverts or refuses by the
//! photometric interpretation, and it reads no tiles with LZW.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::fax;
use super::stored::{Color, Orientation, Samples, Stored};
use super::stream::{Stream, rest};
use super::{Header, broken, check_size};
use crate::{Error, Result};

mod chunks;
mod directory;
mod lzw;

use chunks::{Chunks, Compression};
use directory::Directory;

/// What is read, for messages that refuse something else.
const READ: &str = "TIFFs of 1, 2, 4, 8 or 16 unsigned bits are read, gray, RGB or with a palette, uncompressed or by PackBits, LZW, Deflate or fax group 4; save it as one of these or as PNG";

/// Numbers of tags.
mod tag {
    pub(super) const KIND: u16 = 254;
    pub(super) const WIDTH: u16 = 256;
    pub(super) const HEIGHT: u16 = 257;
    pub(super) const BITS: u16 = 258;
    pub(super) const COMPRESSION: u16 = 259;
    pub(super) const PHOTOMETRIC: u16 = 262;
    pub(super) const FILL_ORDER: u16 = 266;
    pub(super) const STRIP_OFFSETS: u16 = 273;
    pub(super) const ORIENTATION: u16 = 274;
    pub(super) const SAMPLES: u16 = 277;
    pub(super) const ROWS_PER_STRIP: u16 = 278;
    pub(super) const STRIP_BYTES: u16 = 279;
    pub(super) const PLANAR: u16 = 284;
    pub(super) const PREDICTOR: u16 = 317;
    pub(super) const COLOR_MAP: u16 = 320;
    pub(super) const TILE_WIDTH: u16 = 322;
    pub(super) const TILE_HEIGHT: u16 = 323;
    pub(super) const TILE_OFFSETS: u16 = 324;
    pub(super) const TILE_BYTES: u16 = 325;
    pub(super) const EXTRA_SAMPLES: u16 = 338;
    pub(super) const SAMPLE_FORMAT: u16 = 339;
}

/// A file and its length.
struct Source<'a> {
    path: &'a Path,
    file: Stream<'a>,
    len: u64,
}

impl<'a> Source<'a> {
    fn new(path: &'a Path, mut file: Stream<'a>) -> Result<Self> {
        let len = rest(path, &mut file)?;
        Ok(Self { path, file, len })
    }

    /// `len` bytes at `offset`.
    fn bytes(&mut self, offset: u64, len: u64) -> Result<Vec<u8>> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(broken(self.path, "a TIFF that ends too early"));
        }
        let failed = |source| Error::io(self.path, "read", source);
        self.file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = Vec::with_capacity(len as usize);
        self.file.by_ref().take(len).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 != len {
            return Err(broken(self.path, "a TIFF that ends too early"));
        }
        Ok(bytes)
    }
}

/// What is not read, and what is.
fn unsupported(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::file(path, format!("is a TIFF with {what}, which is not read: {READ}"))
}

pub(super) fn header(path: &Path, file: Stream<'_>) -> Result<Header> {
    let mut source = Source::new(path, file)?;
    let directory = Directory::first(&mut source)?;
    image_header(&mut source, &directory)
}

fn image_header(source: &mut Source<'_>, directory: &Directory) -> Result<Header> {
    let mut side = |tag| -> Result<usize> {
        let value = directory.number(source, tag)?.unwrap_or(0);
        Ok(usize::try_from(value).unwrap_or(usize::MAX))
    };
    let (height, width) = (side(tag::HEIGHT)?, side(tag::WIDTH)?);
    check_size(source.path, height, width)?;
    let orientation =
        directory.number(source, tag::ORIENTATION)?.map_or(Orientation::AS_STORED, Orientation::of_tag);
    Ok(Header { height, width, orientation })
}

/// How the samples of a file are to be understood.
struct Meaning {
    color: Color,
    /// Samples of colours a pixel.
    colors: usize,
    /// All samples a pixel.
    samples: usize,
    bits: u32,
}

pub(super) fn read(path: &Path, file: Stream<'_>) -> Result<Stored> {
    let mut source = Source::new(path, file)?;
    let directory = Directory::first(&mut source)?;
    let Header { height, width, orientation } = image_header(&mut source, &directory)?;
    if directory.has_other_pages(&mut source)? {
        return Err(Error::file(path, "is a TIFF of several pages: save each page as an image of its own"));
    }
    let compression = Compression::of(path, directory.number(&mut source, tag::COMPRESSION)?.unwrap_or(1))?;
    let meaning = Meaning::of(&mut source, &directory)?;
    let Meaning { color, colors, samples: channels, bits } = meaning;
    let samples = if compression == Compression::Fax {
        if (bits, channels) != (1, 1) {
            return Err(unsupported(path, format!("fax compression of {channels} samples of {bits} bits")));
        }
        directory.check_lists(&source)?;
        Samples::Eight(fax::read(path, source.file, height, width, color == Color::WhiteIsZero)?)
    } else {
        let chunks = Chunks::of(&mut source, &directory, (height, width), channels, bits, compression)?;
        chunks.read(&mut source)?
    };
    let (samples, alpha) = samples.split(channels, colors);
    Ok(Stored { height, width, color, samples, alpha, bits, orientation, is_lossy: false })
}

impl Meaning {
    fn of(source: &mut Source<'_>, directory: &Directory) -> Result<Self> {
        let path = source.path;
        for format in directory.numbers(source, tag::SAMPLE_FORMAT)? {
            let what = match format {
                1 | 4 => continue,
                2 => "signed numbers",
                3 => "floating point numbers",
                5 | 6 => "complex numbers",
                _ => "numbers of an unknown kind",
            };
            return Err(unsupported(path, what));
        }
        let samples = directory.number(source, tag::SAMPLES)?.unwrap_or(1);
        let mut bits = directory.numbers(source, tag::BITS)?;
        bits.dedup();
        let bits = match bits.as_slice() {
            [] => 1,
            &[bits @ (1 | 2 | 4 | 8 | 16)] => bits as u32,
            &[bits] => return Err(unsupported(path, format!("{bits} bits a sample"))),
            _ => return Err(unsupported(path, "samples of different bits")),
        };
        if directory.number(source, tag::FILL_ORDER)?.unwrap_or(1) != 1 {
            return Err(unsupported(path, "the bits of a byte in reversed order"));
        }
        let (color, colors) = match directory.number(source, tag::PHOTOMETRIC)? {
            Some(0) => (Color::WhiteIsZero, 1),
            Some(1) => (Color::Gray, 1),
            Some(2) if bits >= 8 => (Color::Rgb, 3),
            Some(2) => return Err(unsupported(path, format!("RGB colours of {bits} bits"))),
            Some(3) if bits <= 8 => (Color::Palette(palette(source, directory, bits)?), 1),
            Some(3) => return Err(unsupported(path, format!("a palette of {bits} bits"))),
            Some(4) => return Err(unsupported(path, "the transparency of another image")),
            Some(5) => return Err(unsupported(path, "CMYK colours")),
            Some(6) => return Err(unsupported(path, "YCbCr colours")),
            Some(8..=10) => return Err(unsupported(path, "Lab colours")),
            Some(other) => return Err(unsupported(path, format!("photometric interpretation {other}"))),
            None => return Err(broken(path, "a TIFF that does not say what its values mean")),
        };
        let extra = directory.numbers(source, tag::EXTRA_SAMPLES)?;
        // One sample more is the opacity: of RGB whatever it is called, of gray where it is called so.
        let alpha = colors as u64 + 1;
        let is_alpha = samples == alpha && (colors == 3 || matches!(extra.as_slice(), [1 | 2]));
        if samples != colors as u64 && !is_alpha {
            return Err(unsupported(path, format!("{samples} channels")));
        }
        if samples > 1 && bits < 8 {
            return Err(unsupported(path, format!("{samples} channels of {bits} bits")));
        }
        Ok(Self { color, colors, samples: samples as usize, bits })
    }
}

/// The colours of a palette: all reds, all greens, all blues, of 16 bits each, though some writers keep 8 bits in them.
fn palette(source: &mut Source<'_>, directory: &Directory, bits: u32) -> Result<Vec<[u8; 3]>> {
    let values = directory.numbers(source, tag::COLOR_MAP)?;
    let count = 1 << bits;
    if values.len() != 3 * count {
        return Err(broken(source.path, format!("a palette of {} values", values.len())));
    }
    let shift = if values.iter().all(|&value| value < 256) { 0 } else { 8 };
    Ok((0..count).map(|i| [0, 1, 2].map(|c| (values[c * count + i] >> shift) as u8)).collect())
}
