//! Bilinear upsampling by a whole factor, half-pixel centres, edges clamped.

use rayon::prelude::*;

use crate::scalar::Scalar;
use crate::sizes::{check_len, check_whole, elements, scaled};

/// Where an upsampled coordinate reads: two source positions and the weight of the second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Neighbours<T> {
    pub(crate) low: usize,
    pub(crate) high: usize,
    pub(crate) fraction: T,
}

/// Sources of all `len * scale` positions: centre `(i + 0.5) / scale - 0.5`, clamped to `[0, len - 1]`.
pub(crate) fn sources<T: Scalar>(len: usize, scale: usize) -> Vec<Neighbours<T>> {
    (0..len * scale)
        .map(|i| {
            let centre = ((i as f64 + 0.5) / scale as f64 - 0.5).max(0.0);
            let low = (centre as usize).min(len - 1);
            let high = (low + 1).min(len - 1);
            Neighbours { low, high, fraction: T::from_f64(centre - low as f64) }
        })
        .collect()
}

/// The interpolation along one axis as a dense matrix, `[len * scale, len]`, row-major.
///
/// # Panics
/// Where `len` or `scale` is 0, or the matrix exceeds the address space: `weights: ...`.
pub fn bilinear_weights<T: Scalar>(len: usize, scale: usize) -> Vec<T> {
    let mut weights = vec![T::ZERO; elements("weights", &[len, scale, len])];
    for (row, source) in weights.chunks_exact_mut(len).zip(sources::<T>(len, scale)) {
        row[source.low] += T::ONE - source.fraction;
        row[source.high] += source.fraction;
    }
    weights
}

/// Bilinear upsampling of planes `[height, width]` by `scale` to `[height * scale, width * scale]`, with
/// half-pixel centres (`align_corners = false` of PyTorch, `UpSampling2D` of Keras).
///
/// # Panics
/// Where `x` is not whole planes, at least one, or `y` is of another length: `x: ...`, `y: ...`, `scale: ...`.
pub fn upsample_bilinear2d<T: Scalar>([height, width]: [usize; 2], scale: usize, x: &[T], y: &mut [T]) {
    check([height, width], scale, ("x", x.len()), ("y", y.len()));
    let (rows, cols) = (sources::<T>(height, scale), sources::<T>(width, scale));
    let planes = y.par_chunks_exact_mut(rows.len() * cols.len()).zip(x.par_chunks_exact(height * width));
    planes.for_each_init(
        || vec![T::ZERO; width],
        |line, (y, x)| {
            for (y, row) in y.chunks_exact_mut(cols.len()).zip(&rows) {
                let (low, high) = (&x[row.low * width..][..width], &x[row.high * width..][..width]);
                for ((line, &low), &high) in line.iter_mut().zip(low).zip(high) {
                    *line = low + row.fraction * (high - low);
                }
                for (y, col) in y.iter_mut().zip(&cols) {
                    *y = line[col.low] + col.fraction * (line[col.high] - line[col.low]);
                }
            }
        },
    );
}

/// Gradient of [`upsample_bilinear2d`] with respect to its input: its adjoint.
///
/// # Panics
/// Where `grad_x` is not whole planes, at least one, or `grad_y` is of another length: `grad_x: ...`, `grad_y: ...`,
/// `scale: ...`.
pub fn upsample_bilinear2d_backward<T: Scalar>(
    [height, width]: [usize; 2],
    scale: usize,
    grad_y: &[T],
    grad_x: &mut [T],
) {
    check([height, width], scale, ("grad_x", grad_x.len()), ("grad_y", grad_y.len()));
    let (rows, cols) = (sources::<T>(height, scale), sources::<T>(width, scale));
    let planes =
        grad_x.par_chunks_exact_mut(height * width).zip(grad_y.par_chunks_exact(rows.len() * cols.len()));
    planes.for_each_init(
        || vec![T::ZERO; width],
        |line, (grad_x, grad_y)| {
            grad_x.fill(T::ZERO);
            for (grad_y, row) in grad_y.chunks_exact(cols.len()).zip(&rows) {
                line.fill(T::ZERO);
                for (&g, col) in grad_y.iter().zip(&cols) {
                    line[col.low] += (T::ONE - col.fraction) * g;
                    line[col.high] += col.fraction * g;
                }
                add_scaled(&mut grad_x[row.low * width..][..width], T::ONE - row.fraction, line);
                add_scaled(&mut grad_x[row.high * width..][..width], row.fraction, line);
            }
        },
    );
}

/// `to += factor * from`.
pub(crate) fn add_scaled<T: Scalar>(to: &mut [T], factor: T, from: &[T]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

/// Checks the lengths of the planes and of those upsampled, each with its name.
#[track_caller]
fn check(size: [usize; 2], scale: usize, (x_name, x): (&str, usize), (y_name, y): (&str, usize)) {
    let planes = check_whole(x_name, x, &size);
    let [rows, cols] = scaled(size, scale);
    check_len(y_name, y, &[planes, rows, cols]);
}
