//! Single-threaded matrix product on strided views: the one place that calls the `gemm` crate.

use crate::scalar::Scalar;

/// A read-only matrix whose element (r, c) lies at `data[r * row_stride + c * col_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub(crate) data: &'a [T],
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Rows one after another, `stride` elements apart.
    pub(crate) fn rows(data: &'a [T], stride: usize) -> Self {
        Self { data, row_stride: stride, col_stride: 1 }
    }

    /// The transpose, without moving anything.
    pub(crate) fn transposed(self) -> Self {
        Self { data: self.data, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    fn reach(&self, rows: usize, cols: usize) -> usize {
        (rows - 1) * self.row_stride + (cols - 1) * self.col_stride
    }
}

/// `out += a b`, with `a` of `m` x `k`, `b` of `k` x `n`, and `out` of `m` rows of `n`
/// elements, `out_stride` apart.
///
/// # Safety
/// `out` is valid for reads and writes of `(m - 1) * out_stride + n` elements, rows do not overlap
/// (`out_stride >= n`), and nobody else touches the `n` elements of each row meanwhile.
pub(crate) unsafe fn matmul<T: Scalar>(
    [m, k, n]: [usize; 3],
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    out: *mut T,
    out_stride: usize,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(k > 0 && out_stride >= n);
    assert!(a.reach(m, k) < a.data.len(), "left matrix {m}x{k} outside its slice");
    assert!(b.reach(k, n) < b.data.len(), "right matrix {k}x{n} outside its slice");
    // SAFETY: `a` and `b` lie within their slices by the assertions, `out` by the caller's promise; `T` is f32
    // or f64 (the trait is sealed), both of which gemm implements.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            out_stride as isize,
            true,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
