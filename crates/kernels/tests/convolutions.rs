//! Training of convolutions of every kernel and of what residual networks have beside them, on blocked maps, against the
//! definitions: on every instruction set that this CPU has, at sizes around every edge, for several images, with signed
//! inputs and NaN in outputs.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_kernels::*;

type Size = (usize, &'static [usize], usize, usize, usize);

/// (images, parts of the input, outputs, height, width): few pixels and many, so that each algorithm is chosen.
const SIZES: [Size; 9] = [
    (1, &[1], 1, 1, 1),
    (2, &[3], 20, 3, 5),
    (1, &[16], 16, 16, 29),
    (3, &[17], 33, 5, 9),
    (2, &[8, 8, 8, 8, 8], 40, 6, 13),
    (1, &[16, 20, 4], 80, 8, 14),
    (2, &[32], 16, 13, 60),
    (1, &[48], 48, 40, 36),
    (4, &[64], 64, 8, 8),
];

/// A convolution and its gradients against the definition, from a clean and a used memory.
fn check_convolution(rng: &mut ChaCha8Rng, kernel: Kernel, (images, parts, outputs, height, width): Size) {
    let (inputs, stride) = (parts.iter().sum::<usize>(), kernel.stride);
    let shape = Conv2d {
        batch: images,
        in_channels: inputs,
        out_channels: outputs,
        height,
        width,
        kernel: kernel.side,
    };
    let [rows, cols] = kernel.output([height, width]);
    let x = noise(rng, images * inputs * height * width);
    let w = noise(rng, outputs * inputs * kernel.side * kernel.side);
    let grad = noise(rng, images * outputs * rows * cols);
    let (map, to) =
        (map_of(parts, height, width), BlockedShape { channels: outputs, height: rows, width: cols });
    let (from, grad_y) = (batch(map, parts, &x), batch(to, &[outputs], &grad));
    let want = reference::strided_conv2d(&shape, stride, &x, &w);
    let want_x = reference::strided_conv2d_backward_input(&shape, stride, &grad, &w);
    let want_w = reference::strided_conv2d_backward_weight(&shape, stride, &x, &grad);
    on_every_isa(|isa| {
        let what = format!("{isa} {shape:?} {parts:?} by {stride}");
        let conv = BlockedConv2d::with_kernel(isa, parts, kernel, &w);
        let mut memory = AlignedBuffer::zeroed(0);
        let mut y = dirty_batch(images, to);
        conv.run(map.batch(images, &from), to.batch_mut(images, &mut y), &mut memory);
        assert_close(&what, &dense_batch(to, &[outputs], &y), &want);
        // the memory held other weights
        check_gradient(&format!("{what}: x"), images, map, parts, &want_x, |grad_x, write| {
            let mut memory = AlignedBuffer::zeroed(200_000);
            memory.fill(f32::NAN);
            conv.input_gradient(to.batch(images, &grad_y), grad_x, write, &mut memory);
        });
        let mut grad_w = vec![f32::NAN; w.len()];
        memory.fill(f32::NAN);
        conv.weight_gradient(map.batch(images, &from), to.batch(images, &grad_y), &mut grad_w, &mut memory);
        assert_close(&format!("{what}: w"), &grad_w, &want_w);
        let mut y = dirty_batch(images, to);
        let mut memory = AlignedBuffer::zeroed(200_000);
        memory.fill(f32::NAN);
        conv.run(map.batch(images, &from), to.batch_mut(images, &mut y), &mut memory);
        assert_close(&format!("{what}, used memory"), &dense_batch(to, &[outputs], &y), &want);
    });
}

#[test]
fn convolution_and_its_gradients() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for size in SIZES {
        check_convolution(&mut rng, Kernel::SAME, size);
    }
}

/// As [`SIZES`], with sides of 1, odd ones, and maps tall and narrow.
const STRIDED_SIZES: [Size; 9] = [
    (1, &[1], 1, 1, 1),
    (3, &[3], 20, 3, 5),
    (1, &[17], 33, 1, 8),
    (2, &[5, 20], 16, 37, 2),
    (1, &[16], 16, 16, 29),
    (3, &[8, 8, 8], 40, 6, 13),
    (1, &[3], 64, 20, 34),
    (2, &[32], 48, 9, 61),
    (1, &[48], 64, 40, 1),
];

#[test]
fn convolution_with_other_kernels_and_its_gradients() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for [side, stride] in [[1, 1], [1, 2], [3, 2], [5, 1], [7, 1], [7, 2]] {
        for size in STRIDED_SIZES {
            check_convolution(&mut rng, Kernel { side, stride }, size);
        }
    }
}

/// The result may not depend on the number of threads.
#[test]
fn threads_do_not_change_the_result_of_strided_convolution() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    for (channels, kernel) in [(24, Kernel { side: 3, stride: 2 }), (3, Kernel { side: 7, stride: 2 })] {
        let map = BlockedShape { channels, height: 50, width: 44 };
        let to = BlockedShape { channels: 40, height: 25, width: 22 };
        let w = noise(&mut rng, 40 * channels * kernel.side * kernel.side);
        let x = batch(map, &[channels], &noise(&mut rng, 2 * channels * 50 * 44));
        let grad_y = batch(to, &[40], &noise(&mut rng, 2 * 40 * 25 * 22));
        on_every_isa(|isa| {
            let conv = BlockedConv2d::with_kernel(isa, &[channels], kernel, &w);
            let run = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let (mut y, mut grad_x) = (dirty_batch(2, to), dirty_batch(2, map));
                let (mut grad_w, mut memory) = (vec![f32::NAN; w.len()], AlignedBuffer::zeroed(0));
                pool.install(|| {
                    conv.run(map.batch(2, &x), to.batch_mut(2, &mut y), &mut memory);
                    let grad_x = map.batch_mut(2, &mut grad_x);
                    conv.input_gradient(to.batch(2, &grad_y), grad_x, Write::Replace, &mut memory);
                    conv.weight_gradient(map.batch(2, &x), to.batch(2, &grad_y), &mut grad_w, &mut memory);
                });
                (y.to_vec(), grad_x.to_vec(), grad_w)
            };
            let one = run(1);
            assert!([2, 3, 5].into_iter().all(|threads| run(threads) == one), "{isa} {kernel:?}");
        });
    }
}

#[test]
fn gradient_of_a_sum_with_a_shortcut() {
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    for (images, channels, height, width) in [(1, 1, 1, 1), (3, 20, 6, 3), (1, 33, 40, 1), (2, 16, 3, 62)] {
        let map = BlockedShape { channels, height, width };
        // as a ReLU leaves it: half of it 0
        let y = noise(&mut rng, images * channels * height * width);
        let y: Vec<f32> = y.into_iter().map(|value| value.max(0.0)).collect();
        let grad = noise(&mut rng, y.len());
        let (from, grad_y) = (batch(map, &[channels], &y), batch(map, &[channels], &grad));
        let want = reference::add_relu_backward(&y, &grad);
        on_every_isa(|isa| {
            let what = format!("{isa} {images}x{map:?}");
            let (y, grad_y) = (map.batch(images, &from), map.batch(images, &grad_y));
            check_gradient(&what, images, map, &[channels], &want, |grad, write| {
                let mut other = dirty_batch(images, map);
                let grads = &mut [(map.batch_mut(images, &mut other), Write::Replace), (grad, write)];
                add_relu_blocked_backward(isa, y, grad_y, grads);
                assert_eq!(dense_batch(map, &[channels], &other), want, "{what}");
            });
        });
    }
}

#[test]
fn overlapping_pooling_and_its_gradient() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let window = Window { side: 3, stride: 2, padding: 1 };
    for (images, channels, height, width) in
        [(1, 1, 2, 2), (3, 20, 6, 10), (1, 33, 40, 2), (2, 16, 2, 62), (1, 16, 8, 8)]
    {
        let map = BlockedShape { channels, height, width };
        let half = BlockedShape { channels, height: height / 2, width: width / 2 };
        // few values, so that windows have ties
        let x: Vec<f32> =
            (0..images * channels * height * width).map(|_| rng.random_range(-2..3) as f32).collect();
        let (want, places) = reference::max_pool2d([height, width], window, &x);
        let grad = noise(&mut rng, want.len());
        let mut want_x = vec![0.0f32; x.len()];
        places.iter().zip(&grad).for_each(|(&place, grad)| want_x[place] += grad);
        let (from, grad_y) = (batch(map, &[channels], &x), batch(half, &[channels], &grad));
        on_every_isa(|isa| {
            let what = format!("{isa} {images}x{map:?}");
            let (x, grad_y) = (map.batch(images, &from), half.batch(images, &grad_y));
            let mut y = dirty_batch(images, half);
            max_pool2d_3x3_blocked(isa, x, half.batch_mut(images, &mut y));
            assert_eq!(dense_batch(half, &[channels], &y), want, "{what}");
            check_gradient(&what, images, map, &[channels], &want_x, |grad_x, write| {
                max_pool2d_3x3_blocked_backward(isa, x, half.batch(images, &y), grad_y, grad_x, write);
            });
        });
    }
}

/// A window with a NaN passes its gradient to no pixel, those around it do.
#[test]
fn overlapping_pooling_with_nan() {
    let map = BlockedShape { channels: 1, height: 4, width: 4 };
    let half = BlockedShape { channels: 1, height: 2, width: 2 };
    let mut x: Vec<f32> = (0..16).map(|i| i as f32).collect();
    x[0] = f32::NAN;
    let (from, grad_y) = (batch(map, &[1], &x), batch(half, &[1], &[1.0, 2.0, 3.0, 4.0]));
    on_every_isa(|isa| {
        let (mut y, mut grad_x) = (dirty_batch(1, half), dirty_batch(1, map));
        max_pool2d_3x3_blocked(isa, map.view(&from), half.view_mut(&mut y));
        let planes = dense_batch(map, &[1], &{
            let to = map.view_mut(&mut grad_x);
            let (y, grad_y) = (half.view(&y), half.view(&grad_y));
            max_pool2d_3x3_blocked_backward(isa, map.view(&from), y, grad_y, to, Write::Replace);
            grad_x
        });
        let mut want = [0.0; 16];
        (want[7], want[13], want[15]) = (2.0, 3.0, 4.0);
        assert_eq!(planes, want, "{isa}");
    });
}
