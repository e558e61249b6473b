//! The second half of "convolve before upsampling".
//!
//! Upsampling `U` acts on each channel alone, so it commutes with mixing channels: a 3x3 convolution of an
//! upsampled map is `sum over taps of shift_tap(U(W_tap x))`, where the shift fills with zeros outside. The
//! products `z_tap = W_tap x` are a 1x1 convolution at low resolution; this file upsamples, shifts and adds
//! the nine of them. About six multiply-adds an output value replace `9 * in_channels`, and the sum is exact,
//! borders included.

use rayon::prelude::*;

use crate::scalar::Scalar;
use crate::simd::Isa;
use crate::sizes::{check_len, check_whole, scaled};
use crate::upsampling::bilinear::{Neighbours, add_scaled, sources};

/// Sum over the nine taps: with `z` of `[planes, 9, height, width]` (taps row-major) and `U` the bilinear
/// upsampling by `scale`, `y[p, i, j] = sum over ky, kx of U(z[p, 3 ky + kx])[i + ky - 1, j + kx - 1]`, zero
/// outside; `y` is `[planes, height * scale, width * scale]`.
///
/// # Panics
/// Where `z` is not whole maps of nine planes, at least one, or `y` is of another length: `z: ...`, `y: ...`, `scale: ...`.
pub fn tap_sum<T: Scalar>([height, width]: [usize; 2], scale: usize, z: &[T], y: &mut [T]) {
    let (plane, out) = check([height, width], scale, ("z", z.len()), ("y", y.len()));
    let (rows, cols) = (sources::<T>(height, scale), column_taps::<T>(width, scale));
    y.par_chunks_exact_mut(out).zip(z.par_chunks_exact(9 * plane)).for_each_init(
        || vec![T::ZERO; 3 * width],
        |line, (y, z)| {
            for (i, y) in y.chunks_exact_mut(width * scale).enumerate() {
                line.fill(T::ZERO);
                for (ky, row) in shifted_rows(&rows, i) {
                    for (kx, line) in line.chunks_exact_mut(width).enumerate() {
                        let z = &z[(3 * ky + kx) * plane..][..plane];
                        let (low, high) = (&z[row.low * width..][..width], &z[row.high * width..][..width]);
                        Isa::current().vectorize(
                            #[inline(always)]
                            || {
                                for i in 0..width {
                                    line[i] += low[i] + row.fraction * (high[i] - low[i]);
                                }
                            },
                        );
                    }
                }
                for (y, taps) in y.iter_mut().zip(&cols) {
                    *y = taps.iter().map(|tap| tap.weight * line[tap.at]).sum();
                }
            }
        },
    );
}

/// Gradient of [`tap_sum`] with respect to `z`: its adjoint.
///
/// # Panics
/// Where `grad_z` is not whole maps of nine planes, at least one, or `grad_y` is of another length: `grad_z: ...`,
/// `grad_y: ...`, `scale: ...`.
pub fn tap_sum_backward<T: Scalar>(
    [height, width]: [usize; 2],
    scale: usize,
    grad_y: &[T],
    grad_z: &mut [T],
) {
    let (plane, out) = check([height, width], scale, ("grad_z", grad_z.len()), ("grad_y", grad_y.len()));
    let (rows, cols) = (sources::<T>(height, scale), column_taps::<T>(width, scale));
    grad_z.par_chunks_exact_mut(9 * plane).zip(grad_y.par_chunks_exact(out)).for_each_init(
        || vec![T::ZERO; 3 * width],
        |line, (grad_z, grad_y)| {
            grad_z.fill(T::ZERO);
            for (i, grad_y) in grad_y.chunks_exact(width * scale).enumerate() {
                line.fill(T::ZERO);
                for (&g, taps) in grad_y.iter().zip(&cols) {
                    for tap in taps {
                        line[tap.at] += tap.weight * g;
                    }
                }
                for (ky, row) in shifted_rows(&rows, i) {
                    for (kx, line) in line.chunks_exact(width).enumerate() {
                        let z = &mut grad_z[(3 * ky + kx) * plane..][..plane];
                        add_scaled(&mut z[row.low * width..][..width], T::ONE - row.fraction, line);
                        add_scaled(&mut z[row.high * width..][..width], row.fraction, line);
                    }
                }
            }
        },
    );
}

/// One term of a horizontal sum: a position in the three lines (one a column tap) and its weight.
#[derive(Clone, Copy)]
struct ColumnTap<T> {
    at: usize,
    weight: T,
}

/// For every output column, its six terms: two source columns for each of the three column taps; taps that
/// fall outside have weight zero.
fn column_taps<T: Scalar>(width: usize, scale: usize) -> Vec<[ColumnTap<T>; 6]> {
    let sources = sources::<T>(width, scale);
    (0..sources.len())
        .map(|j| {
            let mut taps = [ColumnTap { at: 0, weight: T::ZERO }; 6];
            for kx in 0..3 {
                if let Some(source) = (j + kx).checked_sub(1).and_then(|j| sources.get(j)) {
                    let weight = T::ONE - source.fraction;
                    taps[2 * kx] = ColumnTap { at: kx * width + source.low, weight };
                    taps[2 * kx + 1] = ColumnTap { at: kx * width + source.high, weight: source.fraction };
                }
            }
            taps
        })
        .collect()
}

/// The row taps that fall inside for output row `i`, with the sources of the row they read.
fn shifted_rows<T: Scalar>(
    rows: &[Neighbours<T>],
    i: usize,
) -> impl Iterator<Item = (usize, &Neighbours<T>)> {
    (0..3).filter_map(move |ky| Some((ky, rows.get((i + ky).checked_sub(1)?)?)))
}

/// Elements of a low-resolution plane and of an output plane, after checking the lengths, each with its name.
#[track_caller]
fn check(
    [height, width]: [usize; 2],
    scale: usize,
    (z_name, z): (&str, usize),
    (y_name, y): (&str, usize),
) -> (usize, usize) {
    let maps = check_whole(z_name, z, &[9, height, width]);
    let [rows, cols] = scaled([height, width], scale);
    check_len(y_name, y, &[maps, rows, cols]);
    (height * width, rows * cols)
}
