//! NIfTI volumes of a few hundred voxels.

use std::io::Write;

use super::{Seed, noise, seed};

const SHAPE: [u16; 3] = [6, 5, 4];
/// NIfTI's codes of voxel types, and their bytes.
const TYPES: [(&str, i16, usize); 6] =
    [("u8", 2, 1), ("i16", 4, 2), ("i32", 8, 4), ("f32", 16, 4), ("f64", 64, 8), ("u16", 512, 2)];

/// How the header says where voxels are.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Sform,
    Qform,
    Sizes,
}

/// Volumes of each type, in both byte orders, with sform, qform and neither.
pub fn plain() -> Vec<Seed> {
    let places = [Place::Sform, Place::Qform, Place::Sizes];
    let types = TYPES.iter().zip(places.iter().cycle()).enumerate();
    types
        .map(|(i, (&(name, code, size), &place))| {
            seed(&format!("{name}.nii"), volume(code, size, place, i % 2 == 1))
        })
        .collect()
}

/// Two of them compressed, one in two streams.
pub fn compressed() -> Vec<Seed> {
    let whole = volume(4, 2, Place::Sform, false);
    let two: Vec<u8> = whole.chunks(400).flat_map(gzip).collect();
    vec![seed("i16.nii.gz", gzip(&whole)), seed("streams.nii.gz", two), seed("f32.nii.gz", gzip(&small()))]
}

/// A volume that every preprocessor can take.
pub fn small() -> Vec<u8> {
    volume(4, 2, Place::Sform, false)
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("memory can be written to")
}

fn volume(code: i16, size: usize, place: Place, big_endian: bool) -> Vec<u8> {
    let mut file = vec![0; 352];
    let mut put = |at: usize, bytes: &[u8]| {
        let field = &mut file[at..at + bytes.len()];
        field.copy_from_slice(bytes);
        if big_endian {
            field.reverse();
        }
    };
    put(0, &348i32.to_le_bytes());
    for (i, n) in [3, SHAPE[0], SHAPE[1], SHAPE[2], 1, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * i, &n.to_le_bytes());
    }
    put(70, &code.to_le_bytes());
    put(72, &(8 * size as i16).to_le_bytes());
    for (i, length) in [1.0f32, 2.0, 2.5, 4.0].into_iter().enumerate() {
        put(76 + 4 * i, &length.to_le_bytes());
    }
    put(108, &352f32.to_le_bytes());
    put(112, &0.5f32.to_le_bytes());
    put(116, &(-10f32).to_le_bytes());
    put(123, &[2]);
    put(252, &i16::from(place == Place::Qform).to_le_bytes());
    put(254, &i16::from(place == Place::Sform).to_le_bytes());
    for (i, value) in [0.0f32, 0.6, 0.0, -9.0, 8.0, 7.0].into_iter().enumerate() {
        put(256 + 4 * i, &value.to_le_bytes());
    }
    for (i, value) in
        [0.0f32, -2.5, 0.0, 9.0, 2.0, 0.0, 0.0, -8.0, 0.0, 0.0, 4.0, 7.0].into_iter().enumerate()
    {
        put(280 + 4 * i, &value.to_le_bytes());
    }
    file[344..348].copy_from_slice(b"n+1\0");
    file.extend(noise(size * SHAPE.iter().map(|&n| usize::from(n)).product::<usize>()));
    file
}
