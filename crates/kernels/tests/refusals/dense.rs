//! Dense tensors, and the definitions.

use unet3p_kernels::*;

use crate::{each, lengths, refused, sizes};

/// Small, and so large that Winograd's algorithm is chosen.
const CONVOLUTIONS: [[usize; 5]; 2] = [[2, 2, 4, 4, 6], [2, 16, 16, 16, 16]];
const CONVOLUTION: [&str; 6] = ["x", "x", "w", "x", "x", "kernel"];

fn conv([batch, in_channels, out_channels, height, width, kernel]: [usize; 6]) -> Conv2d {
    Conv2d { batch, in_channels, out_channels, height, width, kernel }
}

fn convolution<T: Scalar>() {
    let zeros = |len| vec![T::ZERO; len];
    for [b, c, o, h, w] in CONVOLUTIONS {
        for kernel in [1, 3] {
            let right = [b, c, o, h, w, kernel];
            let lens @ [x, weight, y, _] = [b * c * h * w, o * c * kernel * kernel, b * o * h * w, o];
            let forward = |shape: [usize; 6], [x, w, y, bias]: [usize; 4], operand: &str| {
                let what = format!("{shape:?} {x} {w} {y} {bias}");
                let (shape, x, w, bias) = (conv(shape), zeros(x), zeros(w), zeros(bias));
                refused::<T>(&what, operand, y, |y| conv2d(&shape, &x, &w, Some(&bias), y));
            };
            each(CONVOLUTION, right, sizes, |shape, operand| forward(shape, lens, operand));
            each(["x", "w", "y", "bias"], lens, lengths, |lens, operand| forward(right, lens, operand));

            // a size is named by the first operand that has it
            let by_input = ["grad_x", "grad_x", "w", "grad_x", "grad_x", "kernel"];
            let input = |shape: [usize; 6], [x, w, y]: [usize; 3], operand: &str| {
                let what = format!("input {shape:?} {x} {w} {y}");
                let (shape, w, y) = (conv(shape), zeros(w), zeros(y));
                refused::<T>(&what, operand, x, |x| conv2d_backward_input(&shape, &y, &w, x));
            };
            each(by_input, right, sizes, |shape, operand| input(shape, [x, weight, y], operand));
            each(["grad_x", "w", "grad_y"], [x, weight, y], lengths, |lens, operand| {
                input(right, lens, operand);
            });

            let by_weight = ["x", "x", "grad_w", "x", "x", "kernel"];
            let gradient = |shape: [usize; 6], [x, w, y]: [usize; 3], operand: &str| {
                let what = format!("weight {shape:?} {x} {w} {y}");
                let (shape, x, y) = (conv(shape), zeros(x), zeros(y));
                refused::<T>(&what, operand, w, |w| conv2d_backward_weight(&shape, &x, &y, w));
            };
            each(by_weight, right, sizes, |shape, operand| gradient(shape, [x, weight, y], operand));
            each(["x", "grad_w", "grad_y"], [x, weight, y], lengths, |lens, operand| {
                gradient(right, lens, operand);
            });
        }
    }
}

fn definitions_of_convolutions<T: Scalar>() {
    let zeros = |len| vec![T::ZERO; len];
    let [x, w, y] = [2 * 2 * 24, 4 * 2 * 9, 2 * 4 * 24].map(zeros);
    let shape = conv([2, 2, 4, 4, 6, 3]);
    let refused = |operand: &str, call: &dyn Fn()| refused::<T>("definition", operand, 0, |_| call());
    for len in lengths(x.len()) {
        refused("x", &|| drop(reference::conv2d(&shape, &zeros(len), &w, None)));
        refused("x", &|| drop(reference::conv2d_backward_weight(&shape, &zeros(len), &y)));
    }
    for len in lengths(w.len()) {
        refused("w", &|| drop(reference::conv2d(&shape, &x, &zeros(len), None)));
        refused("w", &|| drop(reference::conv2d_backward_input(&shape, &y, &zeros(len))));
    }
    for len in lengths(y.len()) {
        refused("grad_y", &|| drop(reference::conv2d_backward_input(&shape, &zeros(len), &w)));
        refused("grad_y", &|| drop(reference::conv2d_backward_weight(&shape, &x, &zeros(len))));
    }
    for len in lengths(4) {
        refused("bias", &|| drop(reference::conv2d(&shape, &x, &w, Some(&zeros(len)))));
    }
}

fn pooling<T: Scalar>() {
    let zeros = |len| vec![T::ZERO; len];
    let names = ["x", "x", "window"];
    let run = |[h, w, side]: [usize; 3], [x, y]: [usize; 2], operand: &str| {
        let (what, x) = (format!("{h}x{w} by {side}, {} {y}", x), zeros(x));
        refused::<T>(&what, operand, y, |y| max_pool2d([h, w], side, &x, y));
    };
    let back = |[h, w, side]: [usize; 3], [x, y, grad_x]: [usize; 3], operand: &str| {
        let (what, x, grad_y) = (format!("{h}x{w} by {side}, {} {y} {grad_x}", x), zeros(x), zeros(y));
        refused::<T>(&what, operand, grad_x, |out| max_pool2d_backward([h, w], side, &x, &grad_y, out));
    };
    // two planes of 4x6, by 2x2
    each(
        names,
        [4, 6, 2],
        |size| [0, size + 27, sizes(size)[2], usize::MAX],
        |size, operand| {
            run(size, [48, 12], operand);
            back(size, [48, 12, 48], operand);
        },
    );
    each(["x", "y"], [48, 12], lengths, |lens, operand| run([4, 6, 2], lens, operand));
    each(["x", "grad_y", "grad_x"], [48, 12, 48], lengths, |lens, operand| back([4, 6, 2], lens, operand));
    let half = usize::MAX / 2 + 1;
    for window in [
        Window { side: 2, stride: 0, padding: 0 },
        Window { side: 2, stride: 2, padding: 2 },
        Window { side: usize::MAX, stride: 1, padding: half },
    ] {
        assert_eq!(window.pooled([4, 6]), None);
        refused::<T>("window", "window", 12, |y| max_pool2d([4, 6], window, &zeros(48), y));
        refused::<T>("window", "window", 0, |_| drop(reference::max_pool2d([4, 6], window, &zeros(48))));
    }
    for len in lengths(48) {
        refused::<T>("definition", "x", 0, |_| drop(reference::max_pool2d([4, 6], 2, &zeros(len))));
    }
}

fn upsampling<T: Scalar>() {
    type Resize<T> = fn([usize; 2], usize, &[T], &mut [T]);
    let zeros = |len| vec![T::ZERO; len];
    // (name of the low-resolution operand, of the other, function, planes, whether the low resolution is written)
    let entries: [(&str, &str, Resize<T>, usize, bool); 4] = [
        ("x", "y", upsample_bilinear2d, 2, false),
        ("grad_x", "grad_y", upsample_bilinear2d_backward, 2, true),
        ("z", "y", tap_sum, 18, false),
        ("grad_z", "grad_y", tap_sum_backward, 18, true),
    ];
    for (low, high, entry, planes, writes_low) in entries {
        let right = [planes * 4 * 6, 2 * 8 * 12];
        let run = |[h, w, scale]: [usize; 3], [x, y]: [usize; 2], operand: &str| {
            let (from, to) = if writes_low { (y, x) } else { (x, y) };
            let from = zeros(from);
            refused::<T>(&format!("{low} {h}x{w} by {scale}, {x} to {y}"), operand, to, |to| {
                entry([h, w], scale, &from, to);
            });
        };
        each(
            [low, low, high],
            [4, 6, 2],
            |size| [size + 1, size + 28, sizes(size)[2], usize::MAX],
            |s, operand| {
                // a scale whose product wraps is named itself
                run(s, right, if s[2] > 1 << 60 { "scale" } else { operand });
            },
        );
        run([0, 6, 2], right, low);
        run([4, 0, 2], right, low);
        run([4, 6, 0], right, "scale");
        each([low, high], right, lengths, |lens, operand| run([4, 6, 2], lens, operand));
    }
    for [len, scale] in [[0, 2], [2, 0], [usize::MAX, 2], [2, 1 << 63], [1 << 32, 1]] {
        refused::<T>("matrix", "weights", 0, |_| drop(bilinear_weights::<T>(len, scale)));
    }
    let definition = |operand: &str, call: &dyn Fn()| refused::<T>("definition", operand, 0, |_| call());
    for len in lengths(48) {
        definition("x", &|| drop(reference::upsample_bilinear2d([4, 6], 2, &zeros(len))));
        definition("x", &|| drop(reference::unfold2d([4, 6], 3, 2, &zeros(len))));
    }
    definition("z", &|| drop(reference::tap_sum([4, 6], 2, &zeros(48))));
    for scale in [0, 1 << 63, usize::MAX] {
        definition("scale", &|| drop(reference::upsample_bilinear2d([4, 6], scale, &zeros(48))));
        definition("scale", &|| drop(reference::tap_sum([4, 6], scale, &zeros(9 * 48))));
    }
    definition("stride", &|| drop(reference::unfold2d([4, 6], 3, 0, &zeros(48))));
    for kernel in [0, 1 << 32, usize::MAX] {
        definition("kernel", &|| drop(reference::unfold2d([4, 6], kernel, 2, &zeros(48))));
    }
}

fn normalisation<T: Scalar>() {
    let zeros = |len| vec![T::ZERO; len];
    // two images of two channels of six values
    let of = |[mean, variance]: [usize; 2]| ChannelStatistics {
        mean: vec![0.0; mean],
        variance: vec![1.0; variance],
    };
    each(
        ["x", "x"],
        [2, 6],
        |size| [0, size + 3, sizes(size)[2], usize::MAX],
        |[channels, plane], operand| {
            refused::<T>("sums", operand, 0, |_| drop(channel_sums(channels, plane, &zeros(24))));
            refused::<T>("statistics", operand, 0, |_| drop(channel_statistics(channels, plane, &zeros(24))));
        },
    );
    for len in lengths(24) {
        refused::<T>("sums", "x", 0, |_| drop(channel_sums(2, 6, &zeros(len))));
        refused::<T>("statistics", "x", 0, |_| drop(channel_statistics(2, 6, &zeros(len))));
    }
    let names = ["x", "y", "variance", "gamma", "beta"];
    each(names, [24, 24, 2, 2, 2], lengths, |[x, y, variance, gamma, beta], operand| {
        let (x, statistics) = (zeros(x), of([2, variance]));
        refused::<T>("batch_norm", operand, y, |y| {
            batch_norm(6, &x, &statistics, 0.1, &zeros(gamma), &zeros(beta), true, y);
        });
    });
    for plane in [0, 5, 6 + (1 << 63), usize::MAX] {
        refused::<T>("batch_norm", "x", 24, |y| {
            batch_norm(plane, &zeros(24), &of([2, 2]), 0.1, &zeros(2), &zeros(2), true, y);
        });
    }
    each(["x", "y", "grad_y", "variance"], [24, 24, 24, 2], lengths, |[x, y, grad, variance], operand| {
        let [x, y, grad] = [x, y, grad].map(zeros);
        refused::<T>("sums", operand, 0, |_| {
            drop(batch_norm_backward_sums(6, &x, &y, &grad, &of([2, variance]), 0.1, true));
        });
    });
    let names = ["x", "y", "grad_y", "gamma", "sums", "sums", "grad_x"];
    each(names, [24, 24, 24, 2, 2, 2, 24], lengths, |[x, y, grad, gamma, one, two, grad_x], operand| {
        let [x, y, grad] = [x, y, grad].map(zeros);
        let [gamma, one, two] = [gamma, one, two].map(|len| vec![0.0; len]);
        refused::<T>("input", operand, grad_x, |out| {
            let (of, sums) = (of([2, 2]), Some((&one[..], &two[..])));
            batch_norm_backward_input(6, &x, &y, &grad, &of, 0.1, &gamma, true, sums, out);
        });
    });
    for (operand, [x, gamma, beta]) in
        [("x", [23, 2, 2]), ("x", [24, 0, 2]), ("x", [0, 2, 2]), ("beta", [24, 2, 3]), ("beta", [24, 2, 0])]
    {
        let [x, gamma, beta] = [x, gamma, beta].map(zeros);
        refused::<T>("definition", operand, 0, |_| {
            drop(reference::batch_norm(6, &x, 0.1, &gamma, &beta, true));
        });
    }
}

#[test]
fn counts_of_operations_do_not_wrap() {
    assert_eq!(conv([2, 3, 4, 5, 6, 3]).multiply_adds(), 2 * 3 * 4 * 5 * 6 * 9);
    assert_eq!(conv([1 << 32, 1 << 32, 4, 5, 6, 3]).multiply_adds(), u64::MAX);
}

macro_rules! suite {
    ($($name:ident),*) => {
        mod single { $(#[test] fn $name() { super::$name::<f32>(); })* }
        mod double { $(#[test] fn $name() { super::$name::<f64>(); })* }
    };
}
suite!(convolution, definitions_of_convolutions, pooling, upsampling, normalisation);
