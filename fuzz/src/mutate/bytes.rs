//! Damage to bytes of any format.

use super::{LONGEST, number};
use crate::Random;

/// Where formats have what everything else hangs on.
const HEAD: usize = 512;

/// Floating-point numbers that few expect.
const FLOATS: [f32; 8] =
    [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, -0.0, 1e30, 1e-30, f32::MIN_POSITIVE];

/// Changes some bytes, numbers or ranges.
pub(crate) fn bytes(random: &mut Random, data: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..random.rounds() {
        change(random, data, other);
    }
    data.truncate(LONGEST);
}

/// Changes one.
pub(super) fn change(random: &mut Random, data: &mut Vec<u8>, other: &[u8]) {
    let reach = if random.chance(60) { data.len().min(HEAD) } else { data.len() };
    let at = random.below(reach);
    let rest = data.len() - at;
    let range = at..at + rest.min(1 + random.below(64));
    match random.below(12) {
        0..=2 if rest > 0 => data[at] ^= 1 << random.below(8),
        3 if rest > 0 => data[at] = random.bits() as u8,
        4 if rest > 0 => data[at] = data[at].wrapping_add(random.below(17) as u8).wrapping_sub(8),
        5 | 6 => {
            let width = *random.pick(&[1, 2, 4, 8]);
            let value = number(random).to_le_bytes();
            put(random, &mut data[at..], &value[..width]);
        }
        7 => {
            let value = *random.pick(&FLOATS);
            let double = random.chance(30);
            let value =
                if double { f64::from(value).to_le_bytes().to_vec() } else { value.to_le_bytes().to_vec() };
            put(random, &mut data[at..], &value);
        }
        8 => {
            data.drain(range);
        }
        9 => {
            let copy = data[range].to_vec();
            let to = random.below(data.len());
            data.splice(to..to, copy);
        }
        10 => {
            let from = random.below(other.len());
            let piece = &other[from..other.len().min(from + 1 + random.below(64))];
            let end = if random.chance(50) { at + rest.min(piece.len()) } else { at };
            data.splice(at..end, piece.iter().copied());
        }
        _ if random.chance(30) => data.truncate(at),
        _ => {}
    }
}

/// Writes a little-endian number in either byte order, as far as there is room.
fn put(random: &mut Random, place: &mut [u8], little: &[u8]) {
    let mut value = little.to_vec();
    if random.chance(30) {
        value.reverse();
    }
    for (byte, value) in place.iter_mut().zip(value) {
        *byte = value;
    }
}
