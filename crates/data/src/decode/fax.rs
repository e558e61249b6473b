//! Fax compression of group 4 in TIFF, by the `tiff` crate.

use std::io::Seek;
use std::path::Path;

use tiff::decoder::{Decoder, DecodingResult};

use super::broken;
use super::stream::Stream;
use super::unpack::unpack;
use crate::{Error, Result};

/// The bits that are stored: the decoder turns them over where 0 is white.
pub(super) fn read(
    path: &Path,
    mut file: Stream<'_>,
    height: usize,
    width: usize,
    white_is_zero: bool,
) -> Result<Vec<u8>> {
    file.rewind().map_err(|source| Error::io(path, "read", source))?;
    let decoded = Decoder::new(file).and_then(|mut decoder| decoder.read_image());
    let DecodingResult::U8(packed) = decoded.map_err(|error| broken(path, error))? else {
        return Err(broken(path, "fax data of more than a bit"));
    };
    let line = width.div_ceil(8);
    if packed.len() != line * height {
        return Err(broken(path, "fax data of another size"));
    }
    let mut bits = unpack(&packed, line, width, 1);
    if white_is_zero {
        bits.iter_mut().for_each(|bit| *bit = 1 - *bit);
    }
    Ok(bits)
}
