//! From bytes to samples.

/// Samples of less than 8 bits, the first in a byte's highest bits; lines begin with a byte.
pub(super) fn unpack(packed: &[u8], line: usize, samples: usize, bits: u32) -> Vec<u8> {
    let bits = bits as usize;
    let sample = |row: &[u8], x: usize| row[x * bits / 8] >> (8 - bits - x * bits % 8) & (0xff >> (8 - bits));
    packed.chunks_exact(line.max(1)).flat_map(|row| (0..samples).map(move |x| sample(row, x))).collect()
}

/// Samples of two bytes.
pub(super) fn sixteen(bytes: &[u8], is_little: bool) -> Vec<u16> {
    let number = if is_little { u16::from_le_bytes } else { u16::from_be_bytes };
    bytes.chunks_exact(2).map(|pair| number([pair[0], pair[1]])).collect()
}
