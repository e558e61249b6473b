//! The layers of training, forward and backward.

use unet3p_kernels::*;

use crate::{Dims, each_map, len, lengths, on_every_isa, refused, view, view_mut, zeros};

const INPUTS: usize = 32;
const OUTPUTS: usize = 20;
const WEIGHTS: usize = OUTPUTS * INPUTS * 9;

/// Sizes at which the weight gradient is computed as written, and from tiles.
const SIZES: [[usize; 2]; 2] = [[4, 6], [32, 32]];

fn views(maps: &[(Dims, Vec<f32>)]) -> Vec<BlockedView<'_>> {
    maps.iter().map(|(dims, data)| view(*dims, data)).collect()
}

/// Counts of input channels that do not fit the weights; with the last, products wrap to nothing.
const OTHER_INPUTS: [usize; 4] = [0, INPUTS + 1, INPUTS + (1 << 63), 1 << 63];

#[test]
fn convolution_and_its_gradients() {
    on_every_isa(|isa| {
        let weight = vec![0.0; WEIGHTS];
        let conv = BlockedConv2d::new(isa, &[16, 16], &weight);
        let none = || AlignedBuffer::zeroed(0);
        for [height, width] in SIZES {
            let (x, y) = ([2, INPUTS, height, width], [2, OUTPUTS, height, width]);
            each_map(["x", "y"], [x, y], |[x, y], operand| {
                refused::<f32>(&format!("{isa} {x:?} {y:?}"), operand, len(y), |out| {
                    conv.run(view(x, &zeros(x)), view_mut(y, out), &mut none());
                });
            });
            each_map(["grad_y", "grad_x"], [y, x], |[y, x], operand| {
                for write in [Write::Replace, Write::Add] {
                    refused::<f32>(&format!("{isa} {x:?} {y:?}"), operand, len(x), |out| {
                        conv.input_gradient(view(y, &zeros(y)), view_mut(x, out), write, &mut none());
                    });
                }
            });
            let gradient = |x: Dims, y: Dims, grad_w: usize, operand: &str| {
                refused::<f32>(&format!("{isa} {x:?} {y:?} {grad_w}"), operand, grad_w, |out| {
                    conv.weight_gradient(view(x, &zeros(x)), view(y, &zeros(y)), out, &mut none());
                });
            };
            each_map(["x", "grad_y"], [x, y], |[x, y], operand| gradient(x, y, WEIGHTS, operand));
            gradient([1, INPUTS, height, width], y, WEIGHTS, "grad_y");
            lengths(WEIGHTS).into_iter().for_each(|len| gradient(x, y, len, "grad_w"));
            // half of a map, whose other half is not zero
            let taller = [2, OUTPUTS, 2 * height, width];
            refused::<f32>("rows of a gradient", "grad_y", WEIGHTS, |out| {
                let (x, taller_data) = (view(x, &zeros(x)).size(), zeros(taller));
                let x = [2, INPUTS, x[1], x[2]];
                let grad = view(taller, &taller_data).rows(0..height);
                conv.weight_gradient(view(x, &zeros(x)), grad, out, &mut none());
            });
        }
        let build = |parts: &[usize], weight: &[f32], operand: &str| {
            refused::<f32>(&format!("{parts:?}"), operand, 0, |_| {
                let _ = BlockedConv2d::new(isa, parts, weight);
            });
        };
        for parts in [&[][..], &[0, 32], &[usize::MAX, 33]] {
            build(parts, &weight, "parts");
        }
        for inputs in OTHER_INPUTS {
            build(&[inputs], &weight, if inputs == 0 { "parts" } else { "weight" });
        }
        for len in lengths(WEIGHTS) {
            build(&[INPUTS], &vec![0.0; len], "weight");
        }
    });
}

#[test]
fn convolution_of_an_upsampled_map_and_its_gradients() {
    on_every_isa(|isa| {
        let weight = vec![0.0; WEIGHTS];
        let conv = BlockedUpsampledConv2d::new(isa, 2, INPUTS, &weight);
        let (x, y) = ([2, INPUTS, 4, 6], [2, OUTPUTS, 8, 12]);
        each_map(["x", "y"], [x, y], |[x, y], operand| {
            refused::<f32>(&format!("{isa} {x:?} {y:?}"), operand, len(y), |out| {
                conv.run(view(x, &zeros(x)), view_mut(y, out));
            });
        });
        let backward = |[x, grad_y, grad_x]: [Dims; 3], grad_w: usize, operand: &str| {
            let what = format!("{isa} {x:?} {grad_y:?} {grad_x:?} {grad_w}");
            refused::<f32>(&what, operand, len(grad_x) + grad_w, |out| {
                let (grad_x_data, grad_w) = out.split_at_mut(len(grad_x));
                let grad_x = view_mut(grad_x, grad_x_data);
                conv.backward(
                    view(x, &zeros(x)),
                    view(grad_y, &zeros(grad_y)),
                    grad_x,
                    Write::Replace,
                    grad_w,
                );
            });
        };
        each_map(["x", "grad_y", "grad_x"], [x, y, x], |maps, operand| backward(maps, WEIGHTS, operand));
        lengths(WEIGHTS).into_iter().for_each(|len| backward([x, y, x], len, "grad_w"));
        // a scale that wraps
        let wrapping = BlockedUpsampledConv2d::new(isa, 2 + (1 << 63), INPUTS, &weight);
        refused::<f32>("a wrapping scale", "scale", len(y), |out| {
            wrapping.run(view(x, &zeros(x)), view_mut(y, out));
        });
        refused::<f32>("a wrapping scale", "scale", len(x) + WEIGHTS, |out| {
            let (grad_x, grad_w) = out.split_at_mut(len(x));
            let (x_data, y_data, grad_x) = (zeros(x), zeros(y), view_mut(x, grad_x));
            wrapping.backward(view(x, &x_data), view(y, &y_data), grad_x, Write::Replace, grad_w);
        });
        let build = |inputs: usize, weight: &[f32]| {
            refused::<f32>("channels", "weight", 0, |_| {
                let _ = BlockedUpsampledConv2d::new(isa, 2, inputs, weight);
            });
        };
        OTHER_INPUTS.into_iter().for_each(|inputs| build(inputs, &weight));
        lengths(WEIGHTS).into_iter().for_each(|len| build(INPUTS, &vec![0.0; len]));
        refused::<f32>("scale 0", "scale", 0, |_| {
            let _ = BlockedUpsampledConv2d::new(isa, 0, INPUTS, &weight);
        });
    });
}

#[test]
fn head_and_its_gradients() {
    on_every_isa(|isa| {
        let weight = vec![0.0; 2 * INPUTS * 9];
        let head = BlockedHead::new(isa, INPUTS, &weight);
        let (x, planes) = ([2, INPUTS, 4, 6], 2 * 2 * 24);
        let run = |x: Dims, bias: usize, planes: usize, operand: &str| {
            refused::<f32>(&format!("{isa} {x:?} {bias} {planes}"), operand, planes, |out| {
                head.run(view(x, &zeros(x)), &vec![0.0; bias], out);
            });
        };
        each_map(["x"], [x], |[x], operand| run(x, 2, planes, operand));
        for x in [[1, INPUTS, 4, 6], [2, INPUTS, 5, 6], [2, INPUTS, 4, 7]] {
            run(x, 2, planes, "planes");
        }
        lengths(2).into_iter().for_each(|bias| run(x, bias, planes, "bias"));
        lengths(planes).into_iter().for_each(|planes| run(x, 2, planes, "planes"));

        let backward = |[x, grad_x]: [Dims; 2], grad: usize, grad_w: usize, operand: &str| {
            let what = format!("{isa} {x:?} {grad} {grad_x:?} {grad_w}");
            refused::<f32>(&what, operand, len(grad_x) + grad_w, |out| {
                let (grad_x_data, grad_w) = out.split_at_mut(len(grad_x));
                let (grad, grad_x) = (vec![0.0; grad], view_mut(grad_x, grad_x_data));
                head.backward(view(x, &zeros(x)), &grad, grad_x, Write::Add, grad_w);
            });
        };
        let weights = weight.len();
        each_map(["x", "grad_x"], [x, x], |maps, operand| backward(maps, planes, weights, operand));
        lengths(planes).into_iter().for_each(|grad| backward([x, x], grad, weights, "grad"));
        lengths(weights).into_iter().for_each(|grad_w| backward([x, x], planes, grad_w, "grad_w"));
        let build = |inputs: usize, weight: &[f32]| {
            refused::<f32>("channels", "weight", 0, |_| {
                let _ = BlockedHead::new(isa, inputs, weight);
            });
        };
        OTHER_INPUTS.into_iter().for_each(|inputs| build(inputs, &weight));
        lengths(weights).into_iter().for_each(|len| build(INPUTS, &vec![0.0; len]));
    });
}

#[test]
fn batch_normalisation_and_its_gradients() {
    on_every_isa(|isa| {
        let z = [2, OUTPUTS, 4, 6];
        let (values, ones) = (zeros(z), [1.0; OUTPUTS]);
        let norm = BlockedBatchNorm::new(isa, view(z, &values), [&ones, &ones], 0.1);
        each_map(["z", "y"], [z, z], |[z, y], operand| {
            refused::<f32>(&format!("{isa} {z:?} {y:?}"), operand, len(y), |out| {
                norm.run(view(z, &zeros(z)), view_mut(y, out));
            });
        });
        each_map(["z", "grad"], [z, z], |[z, grad], operand| {
            refused::<f32>(&format!("{isa} {z:?} {grad:?}"), operand, len(grad), |out| {
                drop(norm.backward(view(z, &zeros(z)), view_mut(grad, out)));
            });
        });
        for (gamma, beta, operand) in
            [(0, 0, "beta"), (20, 19, "beta"), (20, 21, "beta"), (16, 16, "z"), (33, 33, "z")]
        {
            let [gamma, beta] = [gamma, beta].map(|len| vec![0.0; len]);
            refused::<f32>("parameters", operand, 0, |_| {
                drop(BlockedBatchNorm::new(isa, view(z, &values), [&gamma, &beta], 0.1));
            });
        }
    });
}

#[test]
fn pooling_by_several_windows_and_its_gradient() {
    on_every_isa(|isa| {
        let (x, by2, by4) = ([2, 20, 8, 12], [2, 20, 4, 6], [2, 20, 2, 3]);
        let forward = |x: Dims, [by2, by4]: [Dims; 2], operand: &str| {
            refused::<f32>(&format!("{isa} {x:?} {by2:?} {by4:?}"), operand, len(by2) + len(by4), |out| {
                let (first, second) = out.split_at_mut(len(by2));
                let mut pooled = [view_mut(by2, first), view_mut(by4, second)];
                max_pools2d_blocked(isa, view(x, &zeros(x)), &mut pooled);
            });
        };
        each_map(["pooled"; 3], [x, by2, by4], |[x, by2, by4], operand| forward(x, [by2, by4], operand));
        for x in [[2, 20, 9, 12], [2, 20, 8, 13], [2, 20, 10, 12]] {
            // the largest window is the first that does not fit
            forward(x, [[2, 20, x[2] / 2, x[3] / 2], by4], "x");
        }
        let backward = |[x, grad_x]: [Dims; 2], pooled: [Dims; 2], grads: &[Dims], operand: &str| {
            let what = format!("{isa} {x:?} {pooled:?} {grads:?} {grad_x:?}");
            refused::<f32>(&what, operand, len(grad_x), |out| {
                let pooled: Vec<_> = pooled.iter().map(|&dims| (dims, zeros(dims))).collect();
                let grads: Vec<_> = grads.iter().map(|&dims| (dims, zeros(dims))).collect();
                let (pooled, grads) = (views(&pooled), views(&grads));
                max_pools2d_blocked_backward(isa, view(x, &zeros(x)), &pooled, &grads, view_mut(grad_x, out));
            });
        };
        let names = ["pooled", "pooled", "pooled", "grads", "grads", "grad_x"];
        each_map(names, [x, by2, by4, by2, by4, x], |[x, a, b, c, d, grad_x], operand| {
            backward([x, grad_x], [a, b], &[c, d], operand);
        });
        backward([x, x], [by2, by4], &[by2], "grads");
        backward([x, x], [by2, by4], &[by2, by4, by4], "grads");
    });
}
