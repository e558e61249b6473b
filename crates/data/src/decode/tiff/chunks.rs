//! Strips and tiles to samples.

use std::io::Read;
use std::path::Path;

use super::super::unpack::{sixteen, unpack};
use super::super::{MAX_PIXELS, Samples, broken};
use super::{Directory, Source, lzw, tag, unsupported};
use crate::{Error, Result};

/// A side of a tile beyond which it is broken: that of the largest image, rounded to a multiple of 16.
const MAX_TILE: u64 = 1 << 15;

/// Bytes that compressed data may have beyond twice the pixels'.
const LONGER: u64 = 1024;

/// How chunks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    PackBits,
    Lzw,
    Deflate,
    Fax,
}

impl Compression {
    pub(super) fn of(path: &Path, value: u64) -> Result<Self> {
        let what = match value {
            1 => return Ok(Self::None),
            4 => return Ok(Self::Fax),
            5 => return Ok(Self::Lzw),
            8 | 32946 => return Ok(Self::Deflate),
            32773 => return Ok(Self::PackBits),
            2 | 3 => "fax compression of group 3".to_owned(),
            6 | 7 => "JPEG compression".to_owned(),
            33003 | 33005 | 34712 => "JPEG 2000 compression".to_owned(),
            34887 => "LERC compression".to_owned(),
            34925 => "LZMA compression".to_owned(),
            50000 => "Zstandard compression".to_owned(),
            50001 => "WebP compression".to_owned(),
            other => format!("the compression {other}"),
        };
        Err(unsupported(path, what))
    }
}

/// Where the pixels lie, in strips or tiles.
pub(super) struct Chunks {
    height: usize,
    width: usize,
    /// Rows and columns of a chunk; a strip has the image's columns.
    rows: usize,
    columns: usize,
    is_tiled: bool,
    /// Samples that lie together, and how often a pixel has such.
    together: usize,
    planes: usize,
    bits: u32,
    is_little: bool,
    predicted: bool,
    compression: Compression,
    offsets: Vec<u64>,
    bytes: Vec<u64>,
}

impl Chunks {
    pub(super) fn of(
        source: &mut Source<'_>,
        directory: &Directory,
        (height, width): (usize, usize),
        samples: usize,
        bits: u32,
        compression: Compression,
    ) -> Result<Self> {
        let path = source.path;
        let predicted = match directory.number(source, tag::PREDICTOR)?.unwrap_or(1) {
            _ if compression == Compression::None || compression == Compression::PackBits => false,
            1 => false,
            2 if bits >= 8 => true,
            2 => return Err(unsupported(path, format!("a predictor of {bits} bits"))),
            other => return Err(unsupported(path, format!("the predictor {other}"))),
        };
        let planar = directory.number(source, tag::PLANAR)?.unwrap_or(1) == 2;
        let (together, planes) = if planar { (1, samples) } else { (samples, 1) };
        let mut offsets = directory.numbers(source, tag::TILE_OFFSETS)?;
        let is_tiled = !offsets.is_empty();
        let (rows, columns, mut bytes) = if is_tiled {
            let mut side = |tag| -> Result<usize> {
                match directory.number(source, tag)? {
                    Some(side @ 1..=MAX_TILE) => Ok(side as usize),
                    side => Err(broken(path, format!("a TIFF with tiles of {} pixels", side.unwrap_or(0)))),
                }
            };
            (side(tag::TILE_HEIGHT)?, side(tag::TILE_WIDTH)?, directory.numbers(source, tag::TILE_BYTES)?)
        } else {
            offsets = directory.numbers(source, tag::STRIP_OFFSETS)?;
            let rows = directory.number(source, tag::ROWS_PER_STRIP)?.unwrap_or(u64::MAX);
            let rows = usize::try_from(rows).unwrap_or(height).min(height).max(1);
            (rows, width, directory.numbers(source, tag::STRIP_BYTES)?)
        };
        if rows * columns > MAX_PIXELS {
            return Err(broken(path, format!("a TIFF with tiles of {rows} x {columns} pixels")));
        }
        let count = height.div_ceil(rows) * width.div_ceil(columns) * planes;
        if bytes.is_empty() && compression == Compression::None && offsets.len() == 1 {
            // Old writers of one uncompressed strip leave its size out.
            bytes = vec![source.len.saturating_sub(offsets[0])];
        }
        if offsets.len() != count || bytes.len() != count {
            let problem = format!("a TIFF with {} of {count} pieces", offsets.len().min(bytes.len()));
            return Err(broken(path, problem));
        }
        let is_little = directory.is_little;
        Ok(Self {
            height,
            width,
            rows,
            columns,
            is_tiled,
            together,
            planes,
            bits,
            is_little,
            predicted,
            compression,
            offsets,
            bytes,
        })
    }

    /// All samples, those of a pixel side by side. Memory is taken as the chunks are read.
    pub(super) fn read(&self, source: &mut Source<'_>) -> Result<Samples> {
        if self.bits == 16 {
            let samples = self.assemble(source, |raw| {
                let mut samples = sixteen(&raw, self.is_little);
                self.undo_prediction(&mut samples, u16::wrapping_add);
                samples
            });
            return samples.map(Samples::Sixteen);
        }
        let samples = self.assemble(source, |mut raw| match self.bits {
            8 => {
                self.undo_prediction(&mut raw, u8::wrapping_add);
                raw
            }
            bits => unpack(&raw, self.line(), self.columns, bits),
        });
        samples.map(Samples::Eight)
    }

    /// Makes samples of what a predictor has stored: the differences between neighbours.
    fn undo_prediction<T: Copy>(&self, samples: &mut [T], add: impl Fn(T, T) -> T) {
        if self.predicted {
            samples.chunks_mut(self.columns * self.together).for_each(|row| sums(row, self.together, &add));
        }
    }

    /// Bytes of a chunk's line.
    fn line(&self) -> usize {
        (self.columns * self.together * self.bits as usize).div_ceil(8)
    }

    fn assemble<T: Copy + Default>(
        &self,
        source: &mut Source<'_>,
        samples_of: impl Fn(Vec<u8>) -> Vec<T>,
    ) -> Result<Vec<T>> {
        let (across, down) = (self.width.div_ceil(self.columns), self.height.div_ceil(self.rows));
        let mut planes: Vec<Vec<T>> = Vec::new();
        for plane in 0..self.planes {
            let mut values: Vec<T> = Vec::new();
            for piece in 0..across * down {
                let (top, left) = (piece / across * self.rows, piece % across * self.columns);
                let shown = self.rows.min(self.height - top);
                let stored = if self.is_tiled { self.rows } else { shown };
                let raw = self.raw(source, plane * across * down + piece, stored * self.line())?;
                let samples = samples_of(raw);
                if across == 1 && self.columns == self.width {
                    values.extend_from_slice(&samples[..shown * self.width * self.together]);
                    continue;
                }
                values.resize((top + shown) * self.width * self.together, T::default());
                let (line, kept) =
                    (self.columns * self.together, self.columns.min(self.width - left) * self.together);
                for (y, row) in samples.chunks_exact(line).take(shown).enumerate() {
                    let at = ((top + y) * self.width + left) * self.together;
                    values[at..at + kept].copy_from_slice(&row[..kept]);
                }
            }
            planes.push(values);
        }
        if planes.len() == 1 {
            return Ok(planes.remove(0));
        }
        let pixels = self.height * self.width;
        Ok((0..pixels).flat_map(|i| planes.iter().map(move |plane| plane[i])).collect())
    }

    /// The bytes of a chunk without compression, `len` of them.
    fn raw(&self, source: &mut Source<'_>, index: usize, len: usize) -> Result<Vec<u8>> {
        let path = source.path;
        // No compression makes data much longer: many pieces that all claim the whole file take no time.
        let (offset, stored) = (self.offsets[index], self.bytes[index].min(2 * len as u64 + LONGER));
        let raw = match self.compression {
            Compression::None => source.bytes(offset, len as u64)?,
            Compression::PackBits => packbits(&source.bytes(offset, stored)?, len),
            Compression::Lzw => {
                let data = source.bytes(offset, stored)?;
                lzw::decode(&data, len).ok_or_else(|| broken(path, "its LZW data is none"))?
            }
            Compression::Deflate => {
                let data = source.bytes(offset, stored)?;
                let mut raw = Vec::new();
                let decoder = flate2::bufread::ZlibDecoder::new(data.as_slice());
                decoder.take(len as u64).read_to_end(&mut raw).map_err(|error| broken(path, error))?;
                raw
            }
            Compression::Fax => return Err(Error::file(path, "has fax data where none is expected")),
        };
        if raw.len() != len {
            let problem = format!("a piece of its pixels has {} bytes instead of {len}", raw.len());
            return Err(broken(path, problem));
        }
        Ok(raw)
    }
}

/// Adds to each sample the one before it, in rows of pixels.
fn sums<T: Copy>(row: &mut [T], together: usize, add: impl Fn(T, T) -> T) {
    for i in together..row.len() {
        row[i] = add(row[i], row[i - together]);
    }
}

/// Runs of equal bytes (1 - n, byte) and of other bytes (n - 1, bytes).
fn packbits(data: &[u8], len: usize) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut rest = data;
    while let [head, tail @ ..] = rest {
        if raw.len() >= len {
            break;
        }
        let count = *head as i8;
        let used = match (count, tail) {
            (0.., _) => {
                let count = (count as usize + 1).min(tail.len());
                raw.extend_from_slice(&tail[..count]);
                count
            }
            (-127..=-1, [byte, ..]) => {
                raw.resize(raw.len() + 1 + usize::from(count.unsigned_abs()), *byte);
                1
            }
            _ => 0,
        };
        rest = &tail[used..];
    }
    raw.truncate(len);
    raw
}
