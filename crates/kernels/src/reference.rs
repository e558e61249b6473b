//! Each operation as its definition reads: loops without cleverness, against which the fast paths are tested.
//! Sums run in f64.
//!
//! A length that does not fit panics with the message of the function that is defined.

use crate::convolution::Conv2d;
use crate::pooling::Window;
use crate::scalar::Scalar;
use crate::sizes::{check_len, check_stride, check_whole, elements, scaled};

/// Calls `f(weight index, input index, output index)` for every product in a convolution.
fn products(shape: &Conv2d, stride: usize, mut f: impl FnMut(usize, usize, usize)) {
    let Conv2d { batch, in_channels, out_channels, height, width, kernel } = *shape;
    let (pad, [rows, cols]) = (kernel / 2, [height, width].map(|side| side.div_ceil(stride)));
    for b in 0..batch {
        for o in 0..out_channels {
            for c in 0..in_channels {
                for ky in 0..kernel {
                    for kx in 0..kernel {
                        let w = ((o * in_channels + c) * kernel + ky) * kernel + kx;
                        for i in 0..rows {
                            for j in 0..cols {
                                let (si, sj) = (
                                    (i * stride + ky).wrapping_sub(pad),
                                    (j * stride + kx).wrapping_sub(pad),
                                );
                                if si < height && sj < width {
                                    let y = ((b * out_channels + o) * rows + i) * cols + j;
                                    let x = ((b * in_channels + c) * height + si) * width + sj;
                                    f(w, x, y);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn narrow<T: Scalar>(sums: Vec<f64>) -> Vec<T> {
    sums.into_iter().map(T::from_f64).collect()
}

/// [`crate::conv2d`].
///
/// # Panics
/// Where a length does not match `shape`: `x: ...`, `w: ...`, `bias: ...`; or `kernel: ...`.
pub fn conv2d<T: Scalar>(shape: &Conv2d, x: &[T], w: &[T], bias: Option<&[T]>) -> Vec<T> {
    let len = elements("y", &shape.sides()[2]);
    shape.check([("x", x.len()), ("w", w.len()), ("y", len)]);
    if let Some(bias) = bias {
        check_len("bias", bias.len(), &[shape.out_channels]);
    }
    let plane = shape.height * shape.width;
    let mut y: Vec<f64> =
        (0..len).map(|i| bias.map_or(0.0, |bias| bias[i / plane % shape.out_channels].to_f64())).collect();
    products(shape, 1, |iw, ix, iy| y[iy] += w[iw].to_f64() * x[ix].to_f64());
    narrow(y)
}

/// [`crate::conv2d_backward_input`].
///
/// # Panics
/// Where a length does not match `shape`: `w: ...`, `grad_y: ...`; or `kernel: ...`.
pub fn conv2d_backward_input<T: Scalar>(shape: &Conv2d, grad_y: &[T], w: &[T]) -> Vec<T> {
    let len = elements("grad_x", &shape.sides()[0]);
    shape.check([("grad_x", len), ("w", w.len()), ("grad_y", grad_y.len())]);
    strided_conv2d_backward_input(shape, 1, grad_y, w)
}

/// [`crate::conv2d_backward_weight`].
///
/// # Panics
/// Where a length does not match `shape`: `x: ...`, `grad_y: ...`; or `kernel: ...`.
pub fn conv2d_backward_weight<T: Scalar>(shape: &Conv2d, x: &[T], grad_y: &[T]) -> Vec<T> {
    let len = elements("grad_w", &shape.sides()[1]);
    shape.check([("x", x.len()), ("grad_w", len), ("grad_y", grad_y.len())]);
    strided_conv2d_backward_weight(shape, 1, x, grad_y)
}

/// The sides of the input, of the weights and of the output of a convolution with a stride, which may have any kernel.
fn strided_sides(shape: &Conv2d, stride: usize) -> [[usize; 4]; 3] {
    check_stride(stride);
    let [x, w, [batch, out_channels, height, width]] = shape.sides();
    [x, w, [batch, out_channels, height.div_ceil(stride), width.div_ceil(stride)]]
}

/// [`crate::BlockedConv2d::run`] on planes: `shape` has the input's rows and columns.
///
/// # Panics
/// Where a length does not match `shape`, or the stride is 0: `x: ...`, `w: ...`, `stride: ...`.
pub fn strided_conv2d<T: Scalar>(shape: &Conv2d, stride: usize, x: &[T], w: &[T]) -> Vec<T> {
    let sides = strided_sides(shape, stride);
    check_len("x", x.len(), &sides[0]);
    check_len("w", w.len(), &sides[1]);
    let mut y = vec![0.0; elements("y", &sides[2])];
    products(shape, stride, |iw, ix, iy| y[iy] += w[iw].to_f64() * x[ix].to_f64());
    narrow(y)
}

/// [`crate::BlockedConv2d::input_gradient`] on planes.
///
/// # Panics
/// Where a length does not match `shape`, or the stride is 0: `w: ...`, `grad_y: ...`, `stride: ...`.
pub fn strided_conv2d_backward_input<T: Scalar>(
    shape: &Conv2d,
    stride: usize,
    grad_y: &[T],
    w: &[T],
) -> Vec<T> {
    let sides = strided_sides(shape, stride);
    check_len("w", w.len(), &sides[1]);
    check_len("grad_y", grad_y.len(), &sides[2]);
    let mut grad = vec![0.0; elements("grad_x", &sides[0])];
    products(shape, stride, |iw, ix, iy| grad[ix] += w[iw].to_f64() * grad_y[iy].to_f64());
    narrow(grad)
}

/// [`crate::BlockedConv2d::weight_gradient`] on planes.
///
/// # Panics
/// Where a length does not match `shape`, or the stride is 0: `x: ...`, `grad_y: ...`, `stride: ...`.
pub fn strided_conv2d_backward_weight<T: Scalar>(
    shape: &Conv2d,
    stride: usize,
    x: &[T],
    grad_y: &[T],
) -> Vec<T> {
    let sides = strided_sides(shape, stride);
    check_len("x", x.len(), &sides[0]);
    check_len("grad_y", grad_y.len(), &sides[2]);
    let mut grad = vec![0.0; elements("grad_w", &sides[1])];
    products(shape, stride, |iw, ix, iy| grad[iw] += x[ix].to_f64() * grad_y[iy].to_f64());
    narrow(grad)
}

/// [`crate::add_relu_blocked_backward`], where a gradient is replaced.
///
/// # Panics
/// Where the lengths differ: `grad_y: ...`.
pub fn add_relu_backward<T: Scalar>(y: &[T], grad_y: &[T]) -> Vec<T> {
    check_len("grad_y", grad_y.len(), &[y.len()]);
    y.iter().zip(grad_y).map(|(&y, &grad)| if y > T::ZERO { grad } else { T::ZERO }).collect()
}

/// [`crate::max_pool2d`], with for each output the input index of its first maximum.
///
/// # Panics
/// Where `x` is not whole planes, at least one, or no window fits: `x: ...`, `window: ...`.
pub fn max_pool2d<T: Scalar>(
    size @ [height, width]: [usize; 2],
    window: impl Into<Window>,
    x: &[T],
) -> (Vec<T>, Vec<usize>) {
    let window @ Window { side, stride, padding } = window.into();
    let planes = check_whole("x", x.len(), &size);
    let Some([rows, cols]) = window.pooled(size) else {
        panic!("window: {window:?} does not fit {size:?}");
    };
    let (mut values, mut places) = (Vec::new(), Vec::new());
    for plane in 0..planes {
        for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
            let taps = (0..side * side).filter_map(|tap| {
                let row = (i * stride + tap / side).checked_sub(padding).filter(|&row| row < height)?;
                let col = (j * stride + tap % side).checked_sub(padding).filter(|&col| col < width)?;
                Some((plane * height + row) * width + col)
            });
            if let Some(place) = taps.reduce(|best, at| if x[at] > x[best] { at } else { best }) {
                values.push(x[place]);
                places.push(place);
            }
        }
    }
    (values, places)
}

/// [`crate::unfold2d_blocked`], on planes: `[channels * kernel * kernel, height / stride, width / stride]`.
///
/// # Panics
/// Where `x` is not whole planes, at least one, or the kernel or the stride is 0 or beyond the address space: `x: ...`,
/// `kernel: ...`, `stride: ...`.
pub fn unfold2d<T: Scalar>([height, width]: [usize; 2], kernel: usize, stride: usize, x: &[T]) -> Vec<T> {
    let channels = check_whole("x", x.len(), &[height, width]);
    elements("kernel", &[channels, kernel, kernel]);
    check_stride(stride);
    let mut columns = Vec::new();
    for plane in x.chunks_exact(height * width) {
        for tap in 0..kernel * kernel {
            for (i, j) in (0..height / stride).flat_map(|i| (0..width / stride).map(move |j| (i, j))) {
                let row = (i * stride + tap / kernel).checked_sub(kernel / 2).filter(|&row| row < height);
                let col = (j * stride + tap % kernel).checked_sub(kernel / 2).filter(|&col| col < width);
                columns.push(row.zip(col).map_or(T::ZERO, |(row, col)| plane[row * width + col]));
            }
        }
    }
    columns
}

/// The weight with which each source position enters upsampled position `i`: a hat function of the distance
/// between the clamped half-pixel centre and the source.
fn hat(len: usize, scale: usize, i: usize) -> Vec<f64> {
    let centre = ((i as f64 + 0.5) / scale as f64 - 0.5).clamp(0.0, (len - 1) as f64);
    (0..len).map(|source| (1.0 - (centre - source as f64).abs()).max(0.0)).collect()
}

/// [`crate::upsample_bilinear2d`].
///
/// # Panics
/// Where `x` is not whole planes, at least one, or the scale is 0 or beyond the address space: `x: ...`, `scale: ...`.
pub fn upsample_bilinear2d<T: Scalar>([height, width]: [usize; 2], scale: usize, x: &[T]) -> Vec<T> {
    check_whole("x", x.len(), &[height, width]);
    let [full_height, full_width] = scaled([height, width], scale);
    let rows: Vec<_> = (0..full_height).map(|i| hat(height, scale, i)).collect();
    let cols: Vec<_> = (0..full_width).map(|j| hat(width, scale, j)).collect();
    let mut y = Vec::new();
    for plane in x.chunks_exact(height * width) {
        for row in &rows {
            for col in &cols {
                let mut sum = 0.0;
                for (line, &a) in plane.chunks_exact(width).zip(row) {
                    for (&value, &b) in line.iter().zip(col) {
                        sum += a * b * value.to_f64();
                    }
                }
                y.push(T::from_f64(sum));
            }
        }
    }
    y
}

/// [`crate::tap_sum`]: upsample the nine maps, shift each, add.
///
/// # Panics
/// Where `z` is not whole maps of nine planes, at least one, or the scale is 0 or beyond the address space: `z: ...`,
/// `scale: ...`.
pub fn tap_sum<T: Scalar>([height, width]: [usize; 2], scale: usize, z: &[T]) -> Vec<T> {
    let maps = check_whole("z", z.len(), &[9, height, width]);
    let [rows, cols] = scaled([height, width], scale);
    let up = upsample_bilinear2d([height, width], scale, z);
    let mut y = vec![0.0; elements("y", &[maps, rows, cols])];
    for (p, y) in y.chunks_exact_mut(rows * cols).enumerate() {
        for tap in 0..9 {
            let map = &up[(9 * p + tap) * rows * cols..][..rows * cols];
            for i in 0..rows {
                for j in 0..cols {
                    let (si, sj) = ((i + tap / 3).wrapping_sub(1), (j + tap % 3).wrapping_sub(1));
                    if si < rows && sj < cols {
                        y[i * cols + j] += map[si * cols + sj].to_f64();
                    }
                }
            }
        }
    }
    narrow(y)
}

/// [`crate::batch_norm`] over `[batch, channels, plane]`, with the statistics of the batch itself.
///
/// # Panics
/// Where `x` is not whole images, at least one, of `gamma`'s channels, or `beta` is of another length: `x: ...`, `beta: ...`.
pub fn batch_norm<T: Scalar>(plane: usize, x: &[T], eps: f64, gamma: &[T], beta: &[T], relu: bool) -> Vec<T> {
    let channels = gamma.len();
    check_whole("x", x.len(), &[channels, plane]);
    check_len("beta", beta.len(), &[channels]);
    let channel_of = |i: usize| i / plane % channels;
    let count = (x.len() / channels) as f64;
    let (mut mean, mut variance) = (vec![0.0; channels], vec![0.0; channels]);
    x.iter().enumerate().for_each(|(i, v)| mean[channel_of(i)] += v.to_f64() / count);
    for (i, v) in x.iter().enumerate() {
        variance[channel_of(i)] += (v.to_f64() - mean[channel_of(i)]).powi(2) / count;
    }
    let normalise = |(i, v): (usize, &T)| {
        let c = channel_of(i);
        let y = gamma[c].to_f64() * (v.to_f64() - mean[c]) / (variance[c] + eps).sqrt() + beta[c].to_f64();
        if relu { y.max(0.0) } else { y }
    };
    narrow(x.iter().enumerate().map(normalise).collect())
}
