//! The 348 bytes at the start of a NIfTI-1 file, kept as they are so that nothing is lost on writing.

use nifti::{Endianness, NiftiHeader};

use super::affine::Affine;

/// Length of a NIfTI-1 header.
pub(crate) const HEADER_LEN: usize = 348;
/// The header, and four bytes that say that no extension follows.
pub(crate) const DATA_OFFSET: usize = 352;

/// A header's bytes in the file's own byte order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RawHeader {
    bytes: Vec<u8>,
    little_endian: bool,
}

impl RawHeader {
    /// Keeps the bytes that `header` was parsed from.
    pub(crate) fn new(bytes: &[u8; HEADER_LEN], header: &NiftiHeader) -> Self {
        Self { bytes: bytes.to_vec(), little_endian: header.endianness == Endianness::Little }
    }

    /// A header for a volume that was made in memory: the affine as sform, millimetres.
    pub(crate) fn from_geometry(shape: [usize; 3], affine: &Affine, spacing: [f64; 3]) -> Self {
        let mut header = Self { bytes: vec![0; HEADER_LEN], little_endian: true };
        header.put(0, (HEADER_LEN as i32).to_le_bytes());
        header.put_i16(40, 3);
        for axis in 0..7 {
            let n = shape.get(axis).copied().unwrap_or(1);
            header.put(42 + 2 * axis, (n as u16).to_le_bytes());
            let size = spacing.get(axis).copied().unwrap_or(1.0);
            header.put_f32(80 + 4 * axis, size as f32);
        }
        header.put_f32(76, 1.0);
        header.bytes[123] = 2; // millimetres
        header.put_i16(254, 1); // sform_code: scanner coordinates
        for (i, &value) in affine[..3].as_flattened().iter().enumerate() {
            header.put_f32(280 + 4 * i, value as f32);
        }
        header
    }

    /// The same header for voxels of another type, without scaling, extensions or display range.
    pub(crate) fn for_voxels(&self, datatype: i16, bits: i16) -> Self {
        let mut header = self.clone();
        header.put_i16(70, datatype);
        header.put_i16(72, bits);
        header.put_f32(108, DATA_OFFSET as f32);
        header.put_f32(112, 1.0); // scl_slope
        header.put_f32(116, 0.0); // scl_inter
        header.put_f32(124, 0.0); // cal_max
        header.put_f32(128, 0.0); // cal_min
        header.bytes[344..348].copy_from_slice(b"n+1\0");
        header
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether voxels follow in little-endian order.
    pub(crate) fn is_little_endian(&self) -> bool {
        self.little_endian
    }

    fn put_i16(&mut self, offset: usize, value: i16) {
        self.put(offset, value.to_le_bytes());
    }

    fn put_f32(&mut self, offset: usize, value: f32) {
        self.put(offset, value.to_le_bytes());
    }

    /// Stores a little-endian value in the header's own byte order.
    fn put<const N: usize>(&mut self, offset: usize, mut value: [u8; N]) {
        if !self.little_endian {
            value.reverse();
        }
        self.bytes[offset..offset + N].copy_from_slice(&value);
    }
}
