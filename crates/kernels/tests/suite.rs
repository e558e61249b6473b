//! Every kernel against its naive reference, in f32 and f64, at sizes around the edges of tiles and blocks,
//! with signed inputs and outputs filled with NaN beforehand.

#![allow(clippy::unwrap_used)] // a test fails by panicking

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_kernels::*;

/// Relative L2 error allowed in units of the type's epsilon: the references sum in f64, so what is left is the
/// rounding of the fast path's sums, whose error grows with the square root of their length (at most a few
/// thousand terms here: 64 epsilon), doubled for the two-step kernels.
const BUDGET_EPSILONS: f64 = 128.0;

trait Element: Scalar {
    const EPSILON: f64;
    const NAN: Self;
}
impl Element for f32 {
    const EPSILON: f64 = f32::EPSILON as f64;
    const NAN: Self = f32::NAN;
}
impl Element for f64 {
    const EPSILON: f64 = f64::EPSILON;
    const NAN: Self = f64::NAN;
}

fn noise<T: Scalar>(rng: &mut ChaCha8Rng, len: usize) -> Vec<T> {
    (0..len).map(|_| T::from_f64(rng.random_range(-1.0..1.0))).collect()
}

fn filled<T: Element>(len: usize, f: impl FnOnce(&mut [T])) -> Vec<T> {
    let mut out = vec![T::NAN; len];
    f(&mut out);
    out
}

#[track_caller]
fn assert_close<T: Element>(what: &str, got: &[T], want: &[T]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let square = |v: f64| v * v;
    let error: f64 = got.iter().zip(want).map(|(a, b)| square(a.to_f64() - b.to_f64())).sum();
    let norm: f64 = want.iter().map(|v| square(v.to_f64())).sum();
    let relative = (error / norm.max(f64::MIN_POSITIVE)).sqrt();
    // `!(<=)` so that NaN fails
    assert!(relative <= BUDGET_EPSILONS * T::EPSILON, "{what}: relative error {relative:e}");
}

fn dot<T: Scalar>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum()
}

/// [batch, in, out, height, width]: single pixels, lines, non-square, more pixels than one tile holds, more
/// channels than weight-gradient parts, counts that are no multiple of a vector.
const CONVOLUTIONS: [[usize; 5]; 9] = [
    [1, 1, 1, 1, 1],
    [2, 3, 5, 1, 7],
    [1, 2, 3, 9, 1],
    [3, 3, 4, 8, 6],
    [2, 17, 15, 5, 13],
    [1, 33, 16, 16, 16],
    [1, 16, 2, 65, 67],
    [2, 1, 20, 64, 63],
    [1, 40, 24, 33, 31],
];

fn convolution<T: Element>() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for kernel in [1, 3] {
        for [batch, in_channels, out_channels, height, width] in CONVOLUTIONS {
            let shape = Conv2d { batch, in_channels, out_channels, height, width, kernel };
            let x = noise::<T>(&mut rng, batch * in_channels * height * width);
            let w = noise::<T>(&mut rng, out_channels * in_channels * kernel * kernel);
            let bias = noise::<T>(&mut rng, out_channels);
            let g = noise::<T>(&mut rng, batch * out_channels * height * width);
            for bias in [None, Some(&bias[..])] {
                let y = filled(g.len(), |y| conv2d(&shape, &x, &w, bias, y));
                assert_close(&format!("forward {shape:?}"), &y, &reference::conv2d(&shape, &x, &w, bias));
            }
            let grad = filled(x.len(), |out| conv2d_backward_input(&shape, &g, &w, out));
            assert_close(
                &format!("input {shape:?}"),
                &grad,
                &reference::conv2d_backward_input(&shape, &g, &w),
            );
            let grad = filled(w.len(), |out| conv2d_backward_weight(&shape, &x, &g, out));
            assert_close(
                &format!("weight {shape:?}"),
                &grad,
                &reference::conv2d_backward_weight(&shape, &x, &g),
            );
        }
    }
}

fn pooling<T: Element>() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let side_by_side = [1, 2, 3, 4, 8, 16].map(Window::from);
    let overlapping = [(3, 2, 1), (3, 1, 1), (2, 1, 0), (5, 3, 2)];
    let overlapping = overlapping.map(|(side, stride, padding)| Window { side, stride, padding });
    for window in side_by_side.into_iter().chain(overlapping) {
        let k = window.side;
        for (planes, height, width) in [(1, k, k), (3, 2 * k + 1, 3 * k), (2, 3 * k, 2 * k + k / 2)] {
            let size = [height, width];
            // few distinct values, so that ties are common
            let x: Vec<T> =
                (0..planes * height * width).map(|_| T::from_f64(rng.random_range(-2..3).into())).collect();
            let (want, places) = reference::max_pool2d(size, window, &x);
            let y = filled(want.len(), |y| max_pool2d(size, window, &x, y));
            assert!(y == want, "forward {window:?} {size:?}");
            let g = noise::<T>(&mut rng, y.len());
            let grad = filled(x.len(), |out| max_pool2d_backward(size, window, &x, &g, out));
            let mut want = vec![T::ZERO; x.len()];
            places.iter().zip(&g).for_each(|(&place, &g)| want[place] += g);
            assert!(grad == want, "backward {window:?} {size:?}");
        }
    }
}

/// Forward against the reference; backward as the adjoint: <A x, g> = <x, A^T g> for random x and g.
fn linear_map<T: Element>(
    what: &str,
    x: &[T],
    want: &[T],
    rng: &mut ChaCha8Rng,
    forward: impl Fn(&[T], &mut [T]),
    adjoint: impl Fn(&[T], &mut [T]),
) {
    let y = filled(want.len(), |y| forward(x, y));
    assert_close(what, &y, want);
    // one random direction would miss an entry with probability 0, but its rounding hides small errors: take two
    for _ in 0..2 {
        let g = noise::<T>(rng, y.len());
        let back = filled(x.len(), |out| adjoint(&g, out));
        let (left, right) = (dot(want, &g), dot(x, &back));
        let scale = (dot(want, want) * dot(&g, &g)).sqrt();
        assert!(
            (left - right).abs() <= BUDGET_EPSILONS * T::EPSILON * scale,
            "{what}: adjoint {left} {right}"
        );
    }
}

const UPSAMPLED: [(usize, usize, usize); 6] =
    [(1, 1, 1), (2, 1, 5), (1, 4, 1), (3, 3, 2), (2, 7, 6), (1, 10, 13)];

fn upsampling<T: Element>() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for scale in [1, 2, 3, 4, 8, 16] {
        for (planes, height, width) in UPSAMPLED {
            let size = [height, width];
            let x = noise::<T>(&mut rng, planes * height * width);
            linear_map(
                &format!("bilinear {scale} {size:?}"),
                &x,
                &reference::upsample_bilinear2d(size, scale, &x),
                &mut rng,
                |x, y| upsample_bilinear2d(size, scale, x, y),
                |g, out| upsample_bilinear2d_backward(size, scale, g, out),
            );
            let z = noise::<T>(&mut rng, 9 * planes * height * width);
            linear_map(
                &format!("tap sum {scale} {size:?}"),
                &z,
                &reference::tap_sum(size, scale, &z),
                &mut rng,
                |z, y| tap_sum(size, scale, z, y),
                |g, out| tap_sum_backward(size, scale, g, out),
            );
        }
    }
}

fn convolve_before_upsampling<T: Element>() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let (batch, inputs, outputs) = (2, 5, 3);
    for scale in [2, 4, 8] {
        for [height, width] in [[1, 1], [3, 5], [6, 2]] {
            let x = noise::<T>(&mut rng, batch * inputs * height * width);
            let w = noise::<T>(&mut rng, outputs * inputs * 9);
            let full = Conv2d {
                batch,
                in_channels: inputs,
                out_channels: outputs,
                height: height * scale,
                width: width * scale,
                kernel: 3,
            };
            let up = reference::upsample_bilinear2d([height, width], scale, &x);
            let want = reference::conv2d(&full, &up, &w, None);
            // [out, in, 9] -> [out, 9, in]
            let mut taps = vec![T::ZERO; w.len()];
            for (i, &value) in w.iter().enumerate() {
                let (o, c, tap) = (i / 9 / inputs, i / 9 % inputs, i % 9);
                taps[(o * 9 + tap) * inputs + c] = value;
            }
            let low = Conv2d { out_channels: 9 * outputs, height, width, kernel: 1, ..full };
            let z = filled(batch * 9 * outputs * height * width, |z| conv2d(&low, &x, &taps, None, z));
            let y = filled(want.len(), |y| tap_sum([height, width], scale, &z, y));
            assert_close(&format!("scale {scale}, {height}x{width}"), &y, &want);
        }
    }
}

fn normalisation<T: Element>() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let eps = 1e-5;
    for (batch, channels, plane) in [(1, 1, 2), (2, 3, 1), (4, 5, 77), (2, 2, 5000)] {
        // a mean far from zero, where one-pass formulas lose their digits
        let x: Vec<T> =
            noise::<f64>(&mut rng, batch * channels * plane).iter().map(|v| T::from_f64(v + 3.0)).collect();
        let (gamma, beta) = (noise::<T>(&mut rng, channels), noise::<T>(&mut rng, channels));
        let statistics = channel_statistics(channels, plane, &x);
        for relu in [false, true] {
            let y = filled(x.len(), |y| batch_norm(plane, &x, &statistics, eps, &gamma, &beta, relu, y));
            let want = reference::batch_norm(plane, &x, eps, &gamma, &beta, relu);
            assert_close(&format!("{batch} {channels} {plane} relu {relu}"), &y, &want);
        }
    }
}

/// Error allowed for a gradient against central differences of step 1e-6 in f64: truncation is of order step^2,
/// rounding of order epsilon / step = 2e-10, times sums of some dozen terms.
const DIFFERENCE_BUDGET: f64 = 1e-7;

/// Backward of batch normalisation in f64 against central differences of its reference.
#[test]
fn normalisation_gradients() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let (batch, channels, plane, eps, step) = (2, 3, 5, 1e-3, 1e-6);
    let x = noise::<f64>(&mut rng, batch * channels * plane);
    let (gamma, beta) = (noise::<f64>(&mut rng, channels), noise::<f64>(&mut rng, channels));
    let g = noise::<f64>(&mut rng, x.len());
    for relu in [false, true] {
        let statistics = channel_statistics(channels, plane, &x);
        let y = filled(x.len(), |y| batch_norm(plane, &x, &statistics, eps, &gamma, &beta, relu, y));
        let (by_gamma, by_beta) = batch_norm_backward_sums(plane, &x, &y, &g, &statistics, eps, relu);
        let by_x = filled(x.len(), |out| {
            let sums = Some((&by_gamma[..], &by_beta[..]));
            batch_norm_backward_input(plane, &x, &y, &g, &statistics, eps, &gamma, relu, sums, out);
        });
        let difference = |operand: usize, i: usize| {
            let at = |delta: f64| {
                let mut operands = [x.clone(), gamma.clone(), beta.clone()];
                operands[operand][i] += delta;
                dot(&g, &reference::batch_norm(plane, &operands[0], eps, &operands[1], &operands[2], relu))
            };
            (at(step) - at(-step)) / (2.0 * step)
        };
        for (operand, gradient) in [&by_x, &by_gamma, &by_beta].into_iter().enumerate() {
            for (i, &value) in gradient.iter().enumerate() {
                let want = difference(operand, i);
                assert!(
                    (value - want).abs() <= DIFFERENCE_BUDGET * (1.0 + want.abs()),
                    "{operand} {i}: {value} {want}"
                );
            }
        }
    }
}

#[test]
fn max_pool_ties_go_to_the_first_in_row_major_order() {
    let x = [1.0f32, 2.0, 2.0, 2.0, 0.0, 0.0, 5.0, 5.0];
    let mut grad = [f32::NAN; 8];
    max_pool2d_backward([2, 4], 2, &x, &[3.0, 7.0], &mut grad);
    assert_eq!(grad, [0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 7.0, 0.0]);
}

#[test]
fn nan_is_not_swallowed() {
    let x = [1.0f32, f32::NAN, 2.0, 0.5];
    let mut y = [0.0];
    max_pool2d([2, 2], 2, &x, &mut y);
    assert!(y[0].is_nan());
    let statistics = ChannelStatistics { mean: vec![0.0], variance: vec![1.0] };
    let mut y = [0.0; 4];
    batch_norm(4, &x, &statistics, 0.0, &[1.0], &[0.0], true, &mut y);
    assert!(y[1].is_nan() && y[0] == 1.0);
}

/// The result may not depend on the number of threads.
#[test]
fn threads_do_not_change_the_result() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let shape = Conv2d { batch: 2, in_channels: 19, out_channels: 24, height: 40, width: 50, kernel: 3 };
    let x = noise::<f32>(&mut rng, 2 * 19 * 2000);
    let g = noise::<f32>(&mut rng, 2 * 24 * 2000);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| filled(24 * 19 * 9, |out| conv2d_backward_weight(&shape, &x, &g, out)))
    };
    let one = run(1);
    assert!([2, 3, 5].into_iter().all(|threads| run(threads) == one));
}

macro_rules! suite {
    ($($name:ident),*) => {
        mod single { $(#[test] fn $name() { super::$name::<f32>(); })* }
        mod double { $(#[test] fn $name() { super::$name::<f64>(); })* }
    };
}
suite!(convolution, pooling, upsampling, convolve_before_upsampling, normalisation);
