//! Max pooling with stride equal to the window.

use rayon::prelude::*;

use crate::scalar::Scalar;

/// Max pooling of planes `[height, width]` by windows of `k` x `k` with stride `k`, to `[height / k, width / k]`;
/// rows and columns that fill no window are dropped. A NaN in a window gives NaN.
///
/// # Panics
/// Where a slice's length does not match the shape, or a side is shorter than the window.
pub fn max_pool2d<T: Scalar>([height, width]: [usize; 2], k: usize, x: &[T], y: &mut [T]) {
    let [rows, cols] = check([height, width], k, x.len(), y.len());
    y.par_chunks_exact_mut(rows * cols).zip(x.par_chunks_exact(height * width)).for_each(|(y, x)| {
        for (i, y) in y.chunks_exact_mut(cols).enumerate() {
            for (j, y) in y.iter_mut().enumerate() {
                *y = x[first_maximum(x, width, k, [i * k, j * k])];
            }
        }
    });
}

/// Gradient of [`max_pool2d`] with respect to its input: the first maximum of each window, in row-major order,
/// takes the window's gradient.
///
/// # Panics
/// As [`max_pool2d`].
pub fn max_pool2d_backward<T: Scalar>(
    [height, width]: [usize; 2],
    k: usize,
    x: &[T],
    grad_y: &[T],
    grad_x: &mut [T],
) {
    let [rows, cols] = check([height, width], k, x.len(), grad_y.len());
    assert_eq!(grad_x.len(), x.len());
    let planes = grad_x.par_chunks_exact_mut(height * width).zip(x.par_chunks_exact(height * width));
    planes.zip(grad_y.par_chunks_exact(rows * cols)).for_each(|((grad_x, x), grad_y)| {
        grad_x.fill(T::ZERO);
        for (i, grad_y) in grad_y.chunks_exact(cols).enumerate() {
            for (j, &grad_y) in grad_y.iter().enumerate() {
                grad_x[first_maximum(x, width, k, [i * k, j * k])] = grad_y;
            }
        }
    });
}

fn check([height, width]: [usize; 2], k: usize, x: usize, y: usize) -> [usize; 2] {
    assert!(k > 0 && height >= k && width >= k, "window {k} of a {height}x{width} plane");
    let (rows, cols) = (height / k, width / k);
    assert_eq!(x % (height * width), 0);
    assert_eq!(y, x / (height * width) * rows * cols);
    [rows, cols]
}

/// Index of the first maximum of the window whose corner is (`top`, `left`); of the first NaN, where there is one.
#[inline]
fn first_maximum<T: Scalar>(x: &[T], width: usize, k: usize, [top, left]: [usize; 2]) -> usize {
    let mut best = top * width + left;
    let mut maximum = x[best];
    for i in top..top + k {
        let start = i * width + left;
        for (j, &value) in x[start..start + k].iter().enumerate() {
            #[allow(clippy::eq_op)] // true for NaN alone
            if value > maximum || (value != value && maximum == maximum) {
                (best, maximum) = (start + j, value);
            }
        }
    }
    best
}
