//! Damage inside the chunks of a PNG.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::{LONGEST, bytes};
use crate::Random;

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A chunk's type and content.
pub(crate) type Chunk = ([u8; 4], Vec<u8>);

/// Changes chunks and puts their lengths and checksums right, or changes bytes of what is no PNG.
pub(crate) fn png(random: &mut Random, data: &mut Vec<u8>, other: &[u8]) {
    let mut chunks = split(data);
    if chunks.is_empty() || random.chance(15) {
        bytes(random, data, other);
        return;
    }
    for _ in 0..random.rounds() {
        let at = random.below(chunks.len());
        match random.below(10) {
            0 if chunks.len() > 1 => drop(chunks.remove(at)),
            1 => chunks.insert(at, chunks[random.below(chunks.len())].clone()),
            2 => chunks.extend(split(other).drain(..).nth(at).into_iter().take(1)),
            3 => chunks.swap(at, 0),
            4 | 5 => change_pixels(random, &mut chunks[at], other),
            _ => bytes(random, &mut chunks[at].1, other),
        }
    }
    *data = SIGNATURE.to_vec();
    for (kind, content) in chunks {
        data.extend(chunk(kind, &content));
    }
    data.truncate(LONGEST);
}

/// Changes compressed content before its compression.
fn change_pixels(random: &mut Random, (kind, content): &mut Chunk, other: &[u8]) {
    if kind != b"IDAT" {
        bytes(random, content, other);
        return;
    }
    let mut inside = Vec::new();
    // What comes before the damage is enough.
    let _ = ZlibDecoder::new(&content[..]).take(LONGEST as u64).read_to_end(&mut inside);
    bytes(random, &mut inside, other);
    *content = deflate(&inside);
}

pub(crate) fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("memory can be written to")
}

/// The chunks of a PNG, as far as their lengths are sound; none of another file.
pub(crate) fn split(data: &[u8]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let Some(mut rest) = data.strip_prefix(SIGNATURE) else { return chunks };
    while let Some((&[a, b, c, d, ref kind @ ..], after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some((content, after)) = after.split_at_checked(length) else { break };
        chunks.push((*kind, content.to_vec()));
        rest = after.get(4..).unwrap_or_default();
    }
    chunks
}

/// A chunk with its length and checksum.
pub(crate) fn chunk(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let mut checksum = flate2::Crc::new();
    checksum.update(&kind);
    checksum.update(content);
    let mut bytes = (content.len() as u32).to_be_bytes().to_vec();
    bytes.extend(kind);
    bytes.extend(content);
    bytes.extend(checksum.sum().to_be_bytes());
    bytes
}
