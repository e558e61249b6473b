//! EXIF in a PNG: the chunk of the standard, and the text in which ImageMagick and others wrote it before there was one.

use std::io::Read;

use flate2::read::ZlibDecoder;
use image::metadata::Orientation as Exif;

use super::Orientation;

/// The keywords of text that holds EXIF in hexadecimal digits.
const KEYWORDS: [&[u8]; 2] = [b"Raw profile type exif", b"Raw profile type APP1"];
/// Digits that are looked at: a megabyte of EXIF.
const MAX_DIGITS: u64 = 1 << 21;

/// The orientation that EXIF tells. Some writers keep the prefix that it has in a JPEG.
pub(super) fn orientation(exif: &[u8]) -> Orientation {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let found = Exif::from_exif_chunk(exif).map_or(1, Exif::to_exif);
    Orientation::of_tag(u64::from(found))
}

/// Whether a text chunk has one of the keywords.
pub(super) fn is_raw_profile(data: &[u8]) -> bool {
    text(data).is_some()
}

/// What follows the keyword.
fn text(data: &[u8]) -> Option<&[u8]> {
    KEYWORDS.into_iter().find_map(|keyword| data.strip_prefix(keyword)?.strip_prefix(&[0]))
}

/// The EXIF in a text chunk of this kind; nothing in one that is damaged.
pub(super) fn raw_profile(kind: &[u8; 4], data: &[u8]) -> Option<Vec<u8>> {
    let text = text(data)?;
    // The name of the profile and its length, then the digits in lines.
    let text = match kind {
        b"tEXt" => text.to_vec(),
        b"zTXt" => inflate(text.strip_prefix(&[0])?)?,
        _ => {
            let (is_compressed, rest) = (*text.first()? == 1, text.get(2..)?);
            // The language, and the keyword in that language.
            let text = rest.splitn(3, |&byte| byte == 0).nth(2)?;
            if is_compressed { inflate(text)? } else { text.to_vec() }
        }
    };
    let mut lines = text.trim_ascii_start().splitn(3, |&byte| byte == b'\n');
    let digits = lines.nth(2)?.iter().filter_map(|&byte| char::from(byte).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
    Some(digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect())
}

/// The beginning of compressed text, as far as it is sound.
fn inflate(data: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let read = ZlibDecoder::new(data).take(MAX_DIGITS).read_to_end(&mut text);
    (read.is_ok() || !text.is_empty()).then_some(text)
}
