//! Max pooling.

use rayon::prelude::*;

use crate::scalar::Scalar;
use crate::sizes::{check_len, check_whole};

/// The windows of a pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of a window.
    pub side: usize,
    /// Rows and columns between windows.
    pub stride: usize,
    /// Rows and columns by which the first window begins before the plane, and the last may end behind it; less than
    /// `side`. What lies outside takes no part.
    pub padding: usize,
}

/// Windows side by side.
impl From<usize> for Window {
    fn from(side: usize) -> Self {
        Self { side, stride: side, padding: 0 }
    }
}

impl Window {
    /// Rows and columns of the pooled plane: windows that reach further than the padding are left out; none where not
    /// a single one fits.
    pub fn pooled(&self, [height, width]: [usize; 2]) -> Option<[usize; 2]> {
        let Self { side, stride, padding } = *self;
        if side == 0 || stride == 0 || padding >= side {
            return None;
        }
        let count = |n: usize| Some(n.checked_add(padding.checked_mul(2)?)?.checked_sub(side)? / stride + 1);
        Some([count(height)?, count(width)?])
    }
}

/// Max pooling of planes `[height, width]`, to the planes of [`Window::pooled`]. A NaN in a window gives NaN.
///
/// # Panics
/// Where `x` is not whole planes, at least one, or `y` is of another length (`x: ...`, `y: ...`), or no window fits
/// (`window: ...`).
pub fn max_pool2d<T: Scalar>(size: [usize; 2], window: impl Into<Window>, x: &[T], y: &mut [T]) {
    let window = window.into();
    let [rows, cols] = check(size, window, x.len(), ("y", y.len()));
    y.par_chunks_exact_mut(rows * cols).zip(x.par_chunks_exact(size[0] * size[1])).for_each(|(y, x)| {
        for (i, y) in y.chunks_exact_mut(cols).enumerate() {
            for (j, y) in y.iter_mut().enumerate() {
                *y = x[first_maximum(x, size, window, [i, j])];
            }
        }
    });
}

/// Gradient of [`max_pool2d`] with respect to its input: the first maximum of each window, in row-major order,
/// takes the window's gradient.
///
/// # Panics
/// As [`max_pool2d`], with `grad_y: ...` and `grad_x: ...`.
pub fn max_pool2d_backward<T: Scalar>(
    size: [usize; 2],
    window: impl Into<Window>,
    x: &[T],
    grad_y: &[T],
    grad_x: &mut [T],
) {
    let window = window.into();
    let [rows, cols] = check(size, window, x.len(), ("grad_y", grad_y.len()));
    check_len("grad_x", grad_x.len(), &[x.len()]);
    let area = size[0] * size[1];
    let planes = grad_x.par_chunks_exact_mut(area).zip(x.par_chunks_exact(area));
    planes.zip(grad_y.par_chunks_exact(rows * cols)).for_each(|((grad_x, x), grad_y)| {
        grad_x.fill(T::ZERO);
        for (i, grad_y) in grad_y.chunks_exact(cols).enumerate() {
            for (j, &grad_y) in grad_y.iter().enumerate() {
                grad_x[first_maximum(x, size, window, [i, j])] += grad_y;
            }
        }
    });
}

/// Rows and columns of the pooled planes, after checking the lengths of the planes and of those pooled, the latter with
/// its name.
#[track_caller]
fn check(size: [usize; 2], window: Window, x: usize, (y_name, y): (&str, usize)) -> [usize; 2] {
    let planes = check_whole("x", x, &size);
    let Some([rows, cols]) = window.pooled(size) else {
        panic!("window: {window:?} does not fit {size:?}");
    };
    check_len(y_name, y, &[planes, rows, cols]);
    [rows, cols]
}

/// Index of the first maximum of window (`i`, `j`); of the first NaN, where there is one.
#[inline]
fn first_maximum<T: Scalar>(
    x: &[T],
    [height, width]: [usize; 2],
    window: Window,
    [i, j]: [usize; 2],
) -> usize {
    let Window { side, stride, padding } = window;
    let range =
        |i: usize, len: usize| (i * stride).saturating_sub(padding)..(i * stride + side - padding).min(len);
    let (rows, cols) = (range(i, height), range(j, width));
    let mut best = rows.start * width + cols.start;
    let mut maximum = x[best];
    for row in rows {
        let start = row * width + cols.start;
        for (k, &value) in x[start..start + cols.len()].iter().enumerate() {
            #[allow(clippy::eq_op)] // true for NaN alone
            if value > maximum || (value != value && maximum == maximum) {
                (best, maximum) = (start + k, value);
            }
        }
    }
    best
}
