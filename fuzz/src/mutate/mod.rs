//! Damage: to any bytes, and to formats whose checksums and lengths are put right again, so that it reaches what is
//! behind them.

mod bytes;
mod gzip;
mod png;
mod safetensors;
mod text;
mod zip;

pub(crate) use bytes::bytes;
pub(crate) use gzip::gzip;
pub(crate) use png::{chunk, deflate, png, split};
pub(crate) use safetensors::safetensors;
pub(crate) use text::text;
pub(crate) use zip::{pack, zip};

use crate::Random;

/// Changes a file; the last argument is another file of the corpus.
pub(crate) type Mutator = fn(&mut Random, &mut Vec<u8>, &[u8]);

/// Longer files are cut: readers are slow enough without.
const LONGEST: usize = 1 << 20;

/// Whole numbers around which code goes wrong.
const NUMBERS: [u64; 24] = [
    0,
    1,
    2,
    7,
    8,
    127,
    128,
    255,
    256,
    1023,
    4096,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    1 << 40,
    (1 << 62) - 1,
    u64::MAX >> 1,
    1 << 63,
    u64::MAX,
];

/// A number from around one of [`NUMBERS`].
fn number(random: &mut Random) -> u64 {
    let near = random.below(3) as u64;
    random.pick(&NUMBERS).wrapping_add(near).wrapping_sub(1)
}
