//! The framing of TensorFlow's record files: length, checksum, data, checksum.
//!
//! The format is described in TensorFlow's `tensorflow/core/lib/io/record_writer.h`.

use std::io::{Result, Write};

/// Writes a record: the length as u64, its checksum, the data, its checksum, all little-endian.
pub(super) fn write_record(file: &mut impl Write, data: &[u8]) -> Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    file.write_all(&length)?;
    file.write_all(&masked_checksum(&length).to_le_bytes())?;
    file.write_all(data)?;
    file.write_all(&masked_checksum(data).to_le_bytes())
}

/// CRC-32C, rotated and offset: data that hold their own checksums would else have a checksum that is known.
fn masked_checksum(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}
