//! PNG: the chunks that hold the image go to the decoder, all others are passed over.

use std::io::{Cursor, Read};
use std::path::Path;

use super::exif;
use super::stream::{Stream, rest};
use super::unpack::{sixteen, unpack};
use super::{Color, Header, MAX_BYTES, Orientation, Samples, Stored, broken, check_size};
use crate::{Error, Result};

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";
/// Longer chunks of EXIF or text hold more than an orientation, and are passed over.
const MAX_EXIF: u64 = 1 << 20;
/// Images beyond this and 16 times their data are decoded twice, first without a place for the pixels: a small broken
/// file takes little memory.
const DECODED_ONCE: usize = 1 << 24;

/// The content of a PNG but for its compressed pixels.
struct Parts {
    height: usize,
    width: usize,
    bits: u32,
    color: u8,
    palette: Option<Vec<[u8; 3]>>,
    transparency: Option<Vec<u8>>,
    orientation: Orientation,
}

pub(super) fn header(path: &Path, mut file: Stream<'_>) -> Result<Header> {
    let Parts { height, width, orientation, .. } = walk(path, &mut file, None)?;
    Ok(Header { height, width, orientation })
}

pub(super) fn read(path: &Path, mut file: Stream<'_>) -> Result<Stored> {
    let mut bytes = Vec::new();
    let parts = walk(path, &mut file, Some(&mut bytes))?;
    let (height, width, bits) = (parts.height, parts.width, parts.bits);
    let channels = match parts.color {
        0 | 3 => 1,
        4 => 2,
        2 => 3,
        _ => 4,
    };
    let line = (width * channels * bits as usize).div_ceil(8);
    let pixels = decode(path, &bytes, line * height)?;
    let samples = match bits {
        16 => Samples::Sixteen(sixteen(&pixels, false)),
        8 => Samples::Eight(pixels),
        bits => Samples::Eight(unpack(&pixels, line, width, bits)),
    };
    let colors = if matches!(parts.color, 2 | 6) { 3 } else { 1 };
    let (samples, alpha) = samples.split(channels, colors);
    let alpha = match &parts.transparency {
        Some(transparency) if alpha.is_none() => {
            Some(keyed(&samples, colors, transparency, parts.color == 3))
        }
        _ => alpha,
    };
    let color = match (parts.color, parts.palette) {
        (3, Some(palette)) => Color::Palette(palette),
        (3, None) => return Err(broken(path, "its palette is missing")),
        _ if colors == 3 => Color::Rgb,
        _ => Color::Gray,
    };
    let orientation = parts.orientation;
    Ok(Stored { height, width, color, samples, alpha, bits, orientation, is_lossy: false })
}

/// The pixels of a PNG, packed as they are stored; `len` bytes.
fn decode(path: &Path, bytes: &[u8], len: usize) -> Result<Vec<u8>> {
    let failed = |error: png::DecodingError| broken(path, error);
    let open = || {
        let limits = png::Limits { bytes: MAX_BYTES as usize };
        let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
        decoder.set_transformations(png::Transformations::IDENTITY);
        decoder.read_info().map_err(failed)
    };
    if len > DECODED_ONCE.max(16 * bytes.len()) {
        let mut rows = open()?;
        while rows.next_row().map_err(failed)?.is_some() {}
    }
    let mut reader = open()?;
    let mut pixels = vec![0; len];
    if reader.output_buffer_size() != Some(len) {
        return Err(broken(path, "its size is not what its head says"));
    }
    reader.next_frame(&mut pixels).map_err(failed)?;
    Ok(pixels)
}

/// Opacity from a tRNS chunk: that of each colour number, or one colour that is transparent.
fn keyed(samples: &Samples, colors: usize, transparency: &[u8], is_palette: bool) -> Samples {
    if is_palette {
        let opacity = |number: u16| transparency.get(usize::from(number)).copied().unwrap_or(255);
        return Samples::Eight(samples.iter().map(opacity).collect());
    }
    let key = sixteen(transparency, false);
    let numbers = samples.to_numbers();
    let opacity = |pixel: &[u16]| if key.starts_with(pixel) { 0 } else { 255 };
    Samples::Eight(numbers.chunks_exact(colors).map(opacity).collect())
}

/// Reads chunk by chunk. `kept` takes those that the decoder needs.
fn walk(path: &Path, file: &mut Stream<'_>, mut kept: Option<&mut Vec<u8>>) -> Result<Parts> {
    let truncated = |_| broken(path, "a PNG that ends too early");
    let mut left = rest(path, file)?;
    let mut signature = [0; 8];
    file.read_exact(&mut signature).map_err(truncated)?;
    if &signature != SIGNATURE {
        return Err(broken(path, "its first bytes are not those of a PNG"));
    }
    left = left.saturating_sub(8);
    if let Some(kept) = kept.as_deref_mut() {
        kept.extend_from_slice(SIGNATURE);
    }
    let mut parts: Option<Parts> = None;
    // The standard's chunk counts, where older text repeats it; of text the first one: each is a file to inflate.
    let (mut has_exif, mut has_profile) = (false, false);
    loop {
        let mut head = [0; 8];
        file.read_exact(&mut head).map_err(truncated)?;
        let [a, b, c, d, kind @ ..] = head;
        let len = u64::from(u32::from_be_bytes([a, b, c, d]));
        // The head before it and the checksum behind it.
        left =
            left.checked_sub(len + 12).ok_or_else(|| truncated(std::io::ErrorKind::UnexpectedEof.into()))?;
        let is_image = matches!(&kind, b"IHDR" | b"PLTE" | b"IDAT" | b"IEND");
        let is_note = matches!(&kind, b"eXIf" | b"tEXt" | b"zTXt" | b"iTXt") && len <= MAX_EXIF;
        let is_small = matches!(&kind, b"IHDR" | b"PLTE" | b"tRNS") || is_note;
        let limit = if &kind == b"IHDR" { 13 } else { 768 };
        if is_small && !is_note && len > limit {
            return Err(broken(path, format!("its chunk {} has {len} bytes", kind.escape_ascii())));
        }
        let mut data = Vec::new();
        match (&mut kept, is_image, is_small) {
            (Some(kept), true, _) => {
                kept.extend_from_slice(&head);
                let start = kept.len();
                file.by_ref().take(len + 4).read_to_end(kept).map_err(truncated)?;
                if is_small {
                    data.extend_from_slice(&kept[start..kept.len().min(start + len as usize)]);
                }
            }
            (_, _, true) => {
                file.by_ref().take(len + 4).read_to_end(&mut data).map_err(truncated)?;
                data.truncate(len as usize);
            }
            _ => file.seek_relative(len as i64 + 4).map_err(truncated)?,
        }
        match (&kind, &mut parts) {
            (b"IHDR", None) => parts = Some(image_header(path, &data)?),
            (_, None) | (b"IHDR", Some(_)) => return Err(broken(path, "its head is not at its start")),
            (b"PLTE", Some(parts)) => {
                if data.is_empty() || data.len() % 3 != 0 {
                    return Err(broken(path, format!("its palette has {} bytes", data.len())));
                }
                parts.palette = Some(data.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect());
            }
            (b"tRNS", Some(parts)) => parts.transparency = Some(data),
            (b"eXIf", Some(parts)) => {
                has_exif = true;
                parts.orientation = exif::orientation(&data);
            }
            (b"tEXt" | b"zTXt" | b"iTXt", Some(parts))
                if !has_exif && !has_profile && exif::is_raw_profile(&data) =>
            {
                has_profile = true;
                if let Some(profile) = exif::raw_profile(&kind, &data) {
                    parts.orientation = exif::orientation(&profile);
                }
            }
            (b"IEND", Some(_)) => break,
            (kind, Some(_)) if !is_image && kind[0].is_ascii_uppercase() => {
                let problem = format!("is a PNG with a chunk {}, which is not read", kind.escape_ascii());
                return Err(Error::file(path, problem));
            }
            _ => {}
        }
    }
    parts.ok_or_else(|| broken(path, "its head is missing"))
}

fn image_header(path: &Path, data: &[u8]) -> Result<Parts> {
    let &[a, b, c, d, e, f, g, h, depth, color, _, _, _] = data else {
        return Err(broken(path, format!("its head has {} bytes", data.len())));
    };
    let side = |bytes: [u8; 4]| usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX);
    let (width, height) = (side([a, b, c, d]), side([e, f, g, h]));
    check_size(path, height, width)?;
    let fits = match color {
        0 => matches!(depth, 1 | 2 | 4 | 8 | 16),
        3 => matches!(depth, 1 | 2 | 4 | 8),
        2 | 4 | 6 => matches!(depth, 8 | 16),
        _ => false,
    };
    if !fits {
        return Err(broken(path, format!("a PNG of colour type {color} with {depth} bits")));
    }
    let orientation = Orientation::AS_STORED;
    let bits = u32::from(depth);
    Ok(Parts { height, width, bits, color, palette: None, transparency: None, orientation })
}
