//! From a storage's bytes to a tensor, with the claimed layout checked first.

use candle_core::{DType, Device, Tensor};

use super::CheckpointError;

/// Most dimensions a tensor may have: those of a 3D convolution's kernel, and one to spare.
pub(super) const MAX_RANK: usize = 6;

/// A storage as the pickle describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StorageClaim<'a> {
    pub(super) dtype: DType,
    /// Name of the archive's entry below `data/`.
    pub(super) key: &'a str,
    /// How many numbers it holds.
    pub(super) elements: usize,
}

/// A view of a storage as the pickle describes it; nothing in it has been checked against the data.
#[derive(Clone, Debug)]
pub(super) struct TensorClaim<'a> {
    pub(super) storage: StorageClaim<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl TensorClaim<'_> {
    /// Number of elements, product of the shape.
    ///
    /// A state dict's tensors never repeat elements of their storage (stride 0), so a view with
    /// more elements than its storage is an error: it would be a way to claim memory for nothing.
    pub(super) fn elements(&self, name: &str) -> Result<usize, CheckpointError> {
        self.shape
            .iter()
            .try_fold(1usize, |product, &side| product.checked_mul(side))
            .filter(|&elements| elements <= self.storage.elements)
            .ok_or_else(|| {
                CheckpointError::tensor(
                    name,
                    format!(
                        "shape {:?} has more elements than its storage, {}",
                        self.shape, self.storage.elements
                    ),
                )
            })
    }

    /// Copies the view out of its storage's little-endian `bytes`.
    pub(super) fn materialise(&self, name: &str, bytes: &[u8]) -> Result<Tensor, CheckpointError> {
        let item = self.storage.dtype.size_in_bytes();
        if self.storage.elements.checked_mul(item) != Some(bytes.len()) {
            return Err(CheckpointError::tensor(
                name,
                format!(
                    "its storage claims {} numbers of {item} bytes, the archive has {} bytes",
                    self.storage.elements,
                    bytes.len()
                ),
            ));
        }
        let elements = self.elements(name)?;
        let start = self.checked_start(name, elements)?;
        let gathered;
        let data = if self.is_contiguous() || elements == 0 {
            &bytes[start * item..(start + elements) * item]
        } else {
            gathered = self.gather(start, elements, item, bytes);
            &gathered
        };
        Tensor::from_raw_buffer(data, self.storage.dtype, &self.shape, &Device::Cpu)
            .map_err(|cause| CheckpointError::tensor(name, cause.to_string()))
    }

    /// The offset of the first element, once the last one is known to lie inside the storage.
    fn checked_start(&self, name: &str, elements: usize) -> Result<usize, CheckpointError> {
        if elements == 0 {
            return Ok(0);
        }
        self.shape
            .iter()
            .zip(&self.strides)
            .try_fold(self.offset, |last, (&side, &stride)| last.checked_add((side - 1).checked_mul(stride)?))
            .filter(|&last| last < self.storage.elements)
            .map(|_| self.offset)
            .ok_or_else(|| {
                CheckpointError::tensor(
                    name,
                    format!(
                        "offset {}, shape {:?} and strides {:?} reach beyond its storage of {}",
                        self.offset, self.shape, self.strides, self.storage.elements
                    ),
                )
            })
    }

    /// Whether the elements lie in row-major order without gaps. A side of 1 has no stride.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1usize;
        self.shape.iter().zip(&self.strides).rev().all(|(&side, &stride)| {
            let fits = side == 1 || stride == expected;
            expected = expected.saturating_mul(side);
            fits
        })
    }

    /// Copies a strided view, whose bounds have been checked, into row-major order.
    fn gather(&self, start: usize, elements: usize, item: usize, bytes: &[u8]) -> Vec<u8> {
        let mut data = Vec::with_capacity(elements * item);
        let mut index = vec![0usize; self.shape.len()];
        let mut at = start;
        for _ in 0..elements {
            data.extend_from_slice(&bytes[at * item..(at + 1) * item]);
            for axis in (0..self.shape.len()).rev() {
                index[axis] += 1;
                // Wrapping, because the stride of a side of 1 may be anything; it cancels out.
                at = at.wrapping_add(self.strides[axis]);
                if index[axis] < self.shape[axis] {
                    break;
                }
                at = at.wrapping_sub(self.shape[axis].wrapping_mul(self.strides[axis]));
                index[axis] = 0;
            }
        }
        data
    }
}
