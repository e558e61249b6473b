//! Synthetic volumes and NIfTI bytes for the tests of this crate.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_data::prepare::{ClassLabels, FolderOptions, VolumePair, match_folders};
use unet3p_data::{Error, Volume};

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

pub fn save(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

pub fn refusal(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), "scan.nii", bytes);
    match Volume::read(&path).unwrap_err() {
        error @ (Error::File { .. } | Error::Io { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A file whose voxels of 20 mm lie where its sform says, so that there is nothing to be said of it.
pub fn placed(shape: &[i16], datatype: i16, bits: i16, voxels: Vec<u8>) -> File {
    let mut file = File::new(true, shape, datatype, bits, voxels);
    sizes(&mut file, [20.0; 3]);
    sform(&mut file, &affine(RAS, [20.0; 3], [0.0; 3]));
    file
}

pub fn sizes(file: &mut File, sizes: [f32; 3]) {
    sizes.into_iter().enumerate().for_each(|(i, size)| file.f32(80 + 4 * i, size));
}

pub fn sform(file: &mut File, affine: &Affine) {
    file.i16(254, 1);
    for (i, &value) in affine[..3].as_flattened().iter().enumerate() {
        file.f32(280 + 4 * i, value as f32);
    }
}

pub fn read(folder: &tempfile::TempDir, file: &File) -> Volume {
    Volume::read(&save(folder.path(), "a.nii", &file.bytes())).unwrap()
}

pub fn says(volume: &Volume, word: &str) -> bool {
    volume.warnings.iter().any(|warning| warning.contains(word))
}

pub const LEFT_ANTERIOR: [(usize, f64); 3] = [(0, -1.0), (1, 1.0), (2, 1.0)];

/// A volume with a gradient, and a box of label 5 inside one of label 300, in `IN/images` and `IN/labels`.
pub fn write_person(input: &Path, name: &str, shape: [usize; 3], axes: [(usize, f64); 3]) {
    let grid = affine(axes, [1.0, 1.0, 2.0], [0.0; 3]);
    let image = volume(shape, grid, |[x, y, z]| (x * 7.0 - y * 5.0 + z * 3.0) as f32);
    let [nx, ny, nz] = shape;
    let labels = indices(shape)
        .map(|[i, j, k]| match () {
            () if i > 0 && i < nx / 2 && j > 1 && j < ny / 2 && k > 0 && k < nz - 1 => 5u16,
            () if i > 0 && i < nx - 1 && j > 0 && k > 0 && k < nz - 1 => 300,
            () => 0,
        })
        .collect();
    let file = format!("{name}.nii.gz");
    for sub in ["images", "labels"] {
        std::fs::create_dir_all(input.join(sub)).unwrap();
    }
    image.write(&input.join("images").join(&file)).unwrap();
    Volume::new(labels, shape, grid).unwrap().write(&input.join("labels").join(&file)).unwrap();
}

pub fn liver() -> FolderOptions {
    FolderOptions {
        classes: vec![ClassLabels { name: "liver".into(), labels: vec![5] }],
        ..FolderOptions::default()
    }
}

pub fn pairs(input: &Path) -> Vec<VolumePair> {
    match_folders(&input.join("images"), &input.join("labels"), None).unwrap().pairs
}

/// Every file below a folder with its content.
pub fn content(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().into(), std::fs::read(&path).unwrap());
            }
        }
    }
    files
}
