//! Damage inside a gzip stream.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::{LONGEST, bytes};
use crate::Random;

/// Changes what is compressed and compresses it again, or changes the stream itself.
pub(crate) fn gzip(random: &mut Random, data: &mut Vec<u8>, other: &[u8]) {
    let inside = unpack(data);
    if inside.is_empty() || random.chance(20) {
        bytes(random, data, other);
        return;
    }
    let mut inside = inside;
    bytes(random, &mut inside, other);
    *data = pack(&inside);
    if random.chance(10) {
        bytes(random, data, other);
    }
}

/// As much as can be unpacked.
fn unpack(data: &[u8]) -> Vec<u8> {
    let mut inside = Vec::new();
    // What comes before the damage is enough.
    let _ = GzDecoder::new(data).take(LONGEST as u64).read_to_end(&mut inside);
    inside
}

pub(crate) fn pack(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("memory can be written to")
}
