//! What an image file claims to hold, against its length: decoders take memory on its word.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// No compression that is read here packs more bytes of pixels into one. LZW of one value comes to 1340, deflate to 1032,
/// a JPEG of one colour to 1024.
const MOST_PACKED: u64 = 2048;
/// Pages of a TIFF, with smaller versions and masks of them.
const MOST_DIRECTORIES: usize = 1024;

/// Refuses an image of more bytes than a file of this length can hold in any compression.
pub(crate) fn check_capacity(path: &Path, bytes: u64) -> Result<()> {
    let length = path.metadata().map_err(|source| Error::io(path, "read", source))?.len();
    if bytes <= length.saturating_mul(MOST_PACKED) {
        return Ok(());
    }
    let problem = format!(
        "is broken or truncated: its {length} bytes cannot hold the {bytes} bytes of pixels that it tells of"
    );
    Err(Error::file(path, problem))
}

/// Refuses a TIFF in which a list is longer than the file. What else is broken, or no TIFF, is named when it is decoded.
pub(crate) fn check_tiff_lists(path: &Path) -> Result<()> {
    let failed = |source| Error::io(path, "read", source);
    let (mut file, mut bytes) = (File::open(path).map_err(failed)?, Vec::new());
    file.by_ref().take(2).read_to_end(&mut bytes).map_err(failed)?;
    if !matches!(&bytes[..], b"II" | b"MM") {
        return Ok(());
    }
    file.read_to_end(&mut bytes).map_err(failed)?;
    let Some(tiff) = Tiff::new(&bytes) else { return Ok(()) };
    let mut next = tiff.first();
    for _ in 0..MOST_DIRECTORIES {
        let Some(at) = next.filter(|&at| at != 0) else { return Ok(()) };
        next = match tiff.directory(at) {
            Some((longest, _)) if longest > bytes.len() as u64 => {
                let length = bytes.len();
                let problem = format!(
                    "is broken or truncated: it tells of a list of {longest} bytes and has {length} in all"
                );
                return Err(Error::file(path, problem));
            }
            found => found.map(|(_, next)| next),
        };
    }
    Err(Error::file(path, format!("is broken: a TIFF with more than {MOST_DIRECTORIES} directories")))
}

/// A TIFF's structure.
struct Tiff<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    /// BigTIFF, whose numbers have eight bytes instead of four.
    big: bool,
}

impl<'a> Tiff<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let tiff = Self { bytes, big_endian: bytes.starts_with(b"MM"), big: false };
        let big = tiff.number(2, 2)? == 43;
        Some(Self { big, ..tiff })
    }

    fn first(&self) -> Option<u64> {
        if self.big { self.number(8, 8) } else { self.number(4, 4) }
    }

    /// The longest list of the directory at an offset, in bytes, and the offset of the next directory.
    fn directory(&self, at: u64) -> Option<(u64, u64)> {
        let (count_width, width, entry) = if self.big { (8, 8, 20) } else { (2, 4, 12) };
        let entries = self.number(at, count_width)?;
        let start = at.checked_add(count_width)?;
        let end = start.checked_add(entries.checked_mul(entry)?)?;
        let next = self.number(end, width)?;
        let mut longest = 0;
        for index in 0..entries {
            let at = start + index * entry;
            let size = match self.number(at + 2, 2)? {
                3 | 8 => 2,
                4 | 9 | 11 | 13 => 4,
                5 | 10 | 12 | 16..=18 => 8,
                _ => 1,
            };
            longest = longest.max(self.number(at + 4, width)?.saturating_mul(size));
        }
        Some((longest, next))
    }

    /// A whole number of at most eight bytes.
    fn number(&self, at: u64, width: u64) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(width as usize)?)?;
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(if self.big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) })
    }
}

#[cfg(test)]
mod tests {
    use image::{ColorType, ImageFormat};

    use super::*;
    use crate::decode::decode;
    use crate::read_mask;

    fn picture(format: ImageFormat) -> Vec<u8> {
        let mut file = std::io::Cursor::new(Vec::new());
        let pixels: Vec<u8> = (0..30).collect();
        image::write_buffer_with_format(&mut file, &pixels, 6, 5, ColorType::L8, format).unwrap();
        file.into_inner()
    }

    fn errors(name: &str, bytes: &[u8]) -> [String; 2] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let errors = [decode(&path).unwrap_err().to_string(), read_mask(&path).unwrap_err().to_string()];
        assert!(errors.iter().all(|error| error.contains(name)), "{errors:?}");
        errors
    }

    /// A PNG that says to have 16384 x 8192 pixels.
    #[test]
    fn pixels_that_a_file_cannot_hold_are_refused() {
        let mut bytes = picture(ImageFormat::Png);
        bytes[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x20, 0]);
        let mut checksum = flate2::Crc::new();
        checksum.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.sum().to_be_bytes());
        let [image, mask] = errors("large.png", &bytes);
        for error in [image, mask] {
            assert!(error.contains("cannot hold the 134217728 bytes"), "{error}");
        }
    }

    #[test]
    fn lists_longer_than_a_tiff_are_refused() {
        let sound = picture(ImageFormat::Tiff);
        let tiff = Tiff::new(&sound).unwrap();
        let at = tiff.first().unwrap() as usize;
        assert!(tiff.directory(at as u64).unwrap().0 <= sound.len() as u64);
        for entry in 0..3 {
            let mut bytes = sound.clone();
            let count = at + 2 + 12 * entry + 4;
            bytes[count..count + 4].copy_from_slice(&0x0100_0000u32.to_le_bytes());
            for error in errors("lists.tiff", &bytes) {
                assert!(error.contains("a list of"), "{error}");
            }
        }
        // A directory that is its own successor.
        let mut bytes = sound;
        let entries = u16::from_le_bytes([bytes[at], bytes[at + 1]]) as usize;
        let next = at + 2 + 12 * entries;
        bytes[next..next + 4].copy_from_slice(&(at as u32).to_le_bytes());
        errors("circle.tiff", &bytes);
    }
}
