//! Damage to the header of a safetensors file.

use super::{bytes, number, text};
use crate::Random;

/// Changes the JSON header and puts its length right, or changes bytes.
pub(crate) fn safetensors(random: &mut Random, data: &mut Vec<u8>, other: &[u8]) {
    let Some((header, tensors)) = split(data).filter(|_| !random.chance(15)) else {
        bytes(random, data, other);
        return;
    };
    let (mut header, mut tensors) = (header.to_vec(), tensors.to_vec());
    let words = split(other).map_or(other, |(header, _)| header);
    if random.chance(10) {
        bytes(random, &mut tensors, other);
    } else {
        text(random, &mut header, words);
    }
    let length = if random.chance(5) { number(random) } else { header.len() as u64 };
    *data = length.to_le_bytes().to_vec();
    data.extend(header);
    data.extend(tensors);
}

/// The header and what follows it.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}
