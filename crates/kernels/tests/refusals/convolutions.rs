//! Convolutions of every kernel in training, and what residual networks have beside them.

use unet3p_kernels::*;

use crate::{Dims, each_map, len, lengths, on_every_isa, refused, view, view_mut, zeros};

const INPUTS: usize = 32;
const OUTPUTS: usize = 20;
const KERNELS: [[usize; 2]; 5] = [[1, 1], [1, 2], [3, 2], [5, 1], [7, 2]];

/// Each map with each side made wrong: fewer and more images, blocks, rows and columns by more than a stride hides.
fn wrong(dims: Dims) -> Vec<Dims> {
    let mut found = Vec::new();
    for (side, step) in [1, LANES, 2, 2].into_iter().enumerate() {
        for value in [dims[side].saturating_sub(step), dims[side] + step] {
            if value > 0 && value != dims[side] {
                let mut dims = dims;
                dims[side] = value;
                found.push(dims);
            }
        }
    }
    found
}

fn with_channels(dims: Dims, count: usize) -> Dims {
    [dims[0], count, dims[2], dims[3]]
}

#[test]
fn convolutions_and_their_gradients() {
    on_every_isa(|isa| {
        for [side, stride] in KERNELS {
            let kernel = Kernel { side, stride };
            let weights = OUTPUTS * INPUTS * side * side;
            let weight = vec![0.0; weights];
            let conv = BlockedConv2d::with_kernel(isa, &[16, 16], kernel, &weight);
            let none = || AlignedBuffer::zeroed(0);
            let [rows, cols] = kernel.output([7, 10]);
            let (x, y) = ([2, INPUTS, 7, 10], [2, OUTPUTS, rows, cols]);
            let run = |x: Dims, y: Dims, operand: &str| {
                refused::<f32>(&format!("{isa} {kernel:?} {x:?} {y:?}"), operand, len(y), |out| {
                    conv.run(view(x, &zeros(x)), view_mut(y, out), &mut none());
                });
            };
            let input_gradient = |y: Dims, x: Dims, operand: &str| {
                for write in [Write::Replace, Write::Add] {
                    refused::<f32>(&format!("{isa} {kernel:?} {y:?} {x:?}"), operand, len(x), |out| {
                        conv.input_gradient(view(y, &zeros(y)), view_mut(x, out), write, &mut none());
                    });
                }
            };
            let weight_gradient = |x: Dims, y: Dims, grad_w: usize, operand: &str| {
                refused::<f32>(&format!("{isa} {kernel:?} {x:?} {y:?} {grad_w}"), operand, grad_w, |out| {
                    conv.weight_gradient(view(x, &zeros(x)), view(y, &zeros(y)), out, &mut none());
                });
            };
            for count in [16, 48] {
                run(with_channels(x, count), y, "x");
                input_gradient(with_channels(y, count), x, "grad_y");
                weight_gradient(with_channels(x, count), y, weights, "x");
            }
            wrong(y).into_iter().for_each(|y| run(x, y, "y"));
            wrong(x).into_iter().for_each(|x| input_gradient(y, x, "grad_x"));
            wrong(y).into_iter().for_each(|y| weight_gradient(x, y, weights, "grad_y"));
            lengths(weights).into_iter().for_each(|len| weight_gradient(x, y, len, "grad_w"));

            // half of a map, whose other half is not zero
            let (taller_x, taller_y) = ([2, INPUTS, 14, 10], [2, OUTPUTS, 2 * rows, cols]);
            let (x_data, y_data) = (zeros(taller_x), zeros(taller_y));
            let part = view(taller_x, &x_data).rows(0..7);
            refused::<f32>("rows of a gradient", "grad_y", weights, |out| {
                let grad = view(taller_y, &y_data).rows(0..rows);
                conv.weight_gradient(view(x, &zeros(x)), grad, out, &mut none());
            });
            if side > 3 {
                refused::<f32>("rows of an input", "x", len(y), |out| {
                    conv.run(part, view_mut(y, out), &mut none());
                });
                refused::<f32>("rows of an input", "x", weights, |out| {
                    conv.weight_gradient(part, view(y, &zeros(y)), out, &mut none());
                });
            }
        }
    });
}

#[test]
fn kernels_parts_and_weights() {
    let isa = Isa::current();
    for [side, stride] in KERNELS {
        let kernel = Kernel { side, stride };
        let weight = vec![0.0; OUTPUTS * INPUTS * side * side];
        let build = |parts: &[usize], kernel: Kernel, weight: &[f32], operand: &str| {
            refused::<f32>(&format!("{kernel:?} {parts:?}"), operand, 0, |_| {
                let _ = BlockedConv2d::with_kernel(isa, parts, kernel, weight);
            });
        };
        for parts in [&[][..], &[0, 32], &[usize::MAX, 33]] {
            build(parts, kernel, &weight, "parts");
        }
        for inputs in [INPUTS + 1, INPUTS + (1 << 63), 1 << 63] {
            build(&[inputs], kernel, &weight, "weight");
        }
        for len in lengths(weight.len()) {
            build(&[INPUTS], kernel, &vec![0.0; len], "weight");
        }
        for side in [0, 2, 4, usize::MAX - 1] {
            build(&[INPUTS], Kernel { side, stride }, &weight, "kernel");
        }
        for stride in [0, 3, usize::MAX] {
            build(&[INPUTS], Kernel { side, stride }, &weight, "kernel");
            refused::<f32>("output", "kernel", 0, |_| {
                let _ = Kernel { side, stride }.output([4, 4]);
            });
        }
        // the second one's square wraps to 1
        for side in [side + 2, (1 << 32) + 1, usize::MAX] {
            build(&[INPUTS], Kernel { side, stride }, &weight, "weight");
        }
    }
    for parts in [&[][..], &[0], &[16, 0], &[usize::MAX, 1]] {
        refused::<f32>("an algorithm", "parts", 0, |_| {
            let _ = ConvAlgorithm::cheapest(ConvCosts::TRAINING, parts, 16, [1, 4, 4]);
        });
    }
}

#[test]
fn gradients_of_sums_and_of_overlapping_pooling() {
    on_every_isa(|isa| {
        let map = [2, 20, 4, 6];
        each_map(["grad_y", "grad_y", "grads", "grads"], [map; 4], |[y, grad_y, a, b], operand| {
            let what = format!("{isa} sum {y:?} {grad_y:?} {a:?} {b:?}");
            refused::<f32>(&what, operand, len(a) + len(b), |out| {
                let (first, second) = out.split_at_mut(len(a));
                let grads = &mut [(view_mut(a, first), Write::Replace), (view_mut(b, second), Write::Add)];
                add_relu_blocked_backward(isa, view(y, &zeros(y)), view(grad_y, &zeros(grad_y)), grads);
            });
        });
        let half = [2, 20, 2, 3];
        let pool = |[x, y, grad_y, grad_x]: [Dims; 4], operand: &str| {
            for write in [Write::Replace, Write::Add] {
                let what = format!("{isa} pool {x:?} {y:?} {grad_y:?} {grad_x:?}");
                refused::<f32>(&what, operand, len(grad_x), |out| {
                    let (x_data, y_data, grad_data) = (zeros(x), zeros(y), zeros(grad_y));
                    let (x, y, grad_y) = (view(x, &x_data), view(y, &y_data), view(grad_y, &grad_data));
                    max_pool2d_3x3_blocked_backward(isa, x, y, grad_y, view_mut(grad_x, out), write);
                });
            }
        };
        each_map(["y", "y", "grad_y", "grad_x"], [map, half, half, map], pool);
        for x in [[2, 20, 5, 6], [2, 20, 4, 7]] {
            pool([x, half, half, x], "x");
        }
    });
}
