//! Synthetic volumes and NIfTI bytes for the tests of this crate.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_data::Volume;

pub type Affine = [[f64; 4]; 4];

/// Signed values from a seed.
pub fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-1.0f32..1.0)).collect()
}

/// All 48 ways to permute and flip three axes: for each, the world axis of every voxel axis and its sign.
pub fn orientations() -> Vec<[(usize, f64); 3]> {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let signs = |bits: usize, axis: usize| if bits >> axis & 1 == 1 { -1.0 } else { 1.0 };
    orders
        .iter()
        .flat_map(|order| (0..8).map(move |bits| [0, 1, 2].map(|axis| (order[axis], signs(bits, axis)))))
        .collect()
}

/// An affine whose axes lie along the world's, with spacing per voxel axis and an offset.
pub fn affine(axes: [(usize, f64); 3], spacing: [f64; 3], offset: [f64; 3]) -> Affine {
    let mut affine = [[0.0; 4]; 4];
    for (axis, (world, sign)) in axes.into_iter().enumerate() {
        affine[world][axis] = sign * spacing[axis];
    }
    for row in 0..3 {
        affine[row][3] = offset[row];
    }
    affine[3][3] = 1.0;
    affine
}

pub const RAS: [(usize, f64); 3] = [(0, 1.0), (1, 1.0), (2, 1.0)];

/// `a * b`.
pub fn product(a: &Affine, b: &Affine) -> Affine {
    let mut c = [[0.0; 4]; 4];
    for row in 0..4 {
        for column in 0..4 {
            c[row][column] = (0..4).map(|k| a[row][k] * b[k][column]).sum();
        }
    }
    c
}

/// A rotation by `degrees` about the world's z axis, then about its x axis.
pub fn rotation(degrees: f64) -> Affine {
    let (s, c) = degrees.to_radians().sin_cos();
    let z = [[c, -s, 0.0, 0.0], [s, c, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let x = [[1.0, 0.0, 0.0, 0.0], [0.0, c, -s, 0.0], [0.0, s, c, 0.0], [0.0, 0.0, 0.0, 1.0]];
    product(&x, &z)
}

pub fn at(affine: &Affine, [i, j, k]: [usize; 3]) -> [f64; 3] {
    let index = [i as f64, j as f64, k as f64, 1.0];
    [0, 1, 2].map(|row| (0..4).map(|axis| affine[row][axis] * index[axis]).sum())
}

pub fn indices(shape: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    let [nx, ny, nz] = shape;
    (0..nz).flat_map(move |k| (0..ny).flat_map(move |j| (0..nx).map(move |i| [i, j, k])))
}

/// A volume whose values are a function of the place in the patient.
pub fn volume(shape: [usize; 3], affine: Affine, value: impl Fn([f64; 3]) -> f32) -> Volume {
    let data = indices(shape).map(|index| value(at(&affine, index))).collect();
    Volume::new(data, shape, affine).unwrap()
}

/// A NIfTI file, field by field, in either byte order.
pub struct File {
    pub header: Vec<u8>,
    pub little: bool,
    pub extension: Vec<u8>,
    pub voxels: Vec<u8>,
}

impl File {
    /// 3D, of `datatype` with `bits` a voxel; 1 x 2 x 3 mm voxels, neither sform nor qform.
    pub fn new(little: bool, shape: &[i16], datatype: i16, bits: i16, voxels: Vec<u8>) -> Self {
        let mut file = Self { header: vec![0; 348], little, extension: vec![0; 4], voxels };
        file.i32(0, 348);
        file.i16(40, shape.len() as i16);
        for axis in 0..7 {
            file.i16(42 + 2 * axis, shape.get(axis).copied().unwrap_or(1));
        }
        file.i16(70, datatype);
        file.i16(72, bits);
        for (i, size) in [1.0, 1.0, 2.0, 3.0].into_iter().enumerate() {
            file.f32(76 + 4 * i, size);
        }
        file.f32(108, 352.0);
        file.header[344..348].copy_from_slice(b"n+1\0");
        file
    }

    pub fn i16(&mut self, offset: usize, value: i16) {
        let bytes = if self.little { value.to_le_bytes() } else { value.to_be_bytes() };
        self.header[offset..offset + 2].copy_from_slice(&bytes);
    }

    pub fn i32(&mut self, offset: usize, value: i32) {
        let bytes = if self.little { value.to_le_bytes() } else { value.to_be_bytes() };
        self.header[offset..offset + 4].copy_from_slice(&bytes);
    }

    pub fn f32(&mut self, offset: usize, value: f32) {
        let bytes = if self.little { value.to_le_bytes() } else { value.to_be_bytes() };
        self.header[offset..offset + 4].copy_from_slice(&bytes);
    }

    pub fn bytes(&self) -> Vec<u8> {
        [&self.header[..], &self.extension, &self.voxels].concat()
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}
