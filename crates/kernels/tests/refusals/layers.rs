//! The layers of inference.

use unet3p_kernels::*;

use crate::{Dims, each, each_map, len, lengths, on_every_isa, refused, view, view_mut, zeros};

/// Parts that do not fit 32 channels.
const PARTS: [&[usize]; 7] =
    [&[], &[0, 32], &[31], &[16, 17], &[1 << 63, 1 << 63], &[16, 16 + (1 << 63)], &[usize::MAX, 33]];

/// The operand that a message about such parts names.
fn named(parts: &[usize]) -> &'static str {
    let sum = parts.iter().try_fold(0usize, |sum, &part| sum.checked_add(part));
    if parts.is_empty() || parts.contains(&0) || sum.is_none() { "parts" } else { "weight" }
}

/// Parts, weights and biases of which one does not fit 32 to 20 channels.
fn constructor(what: &str, new: impl Fn(&[usize], &[f32], &[f32])) {
    let refused = |operand, call: &dyn Fn()| refused::<f32>(what, operand, 0, |_| call());
    let (weight, bias) = (vec![0.0; 20 * 32 * 9], [0.0; 20]);
    for parts in PARTS {
        refused(named(parts), &|| new(parts, &weight, &bias));
    }
    for count in lengths(weight.len()) {
        refused("weight", &|| new(&[16, 16], &vec![0.0; count], &bias));
    }
    for count in lengths(20) {
        refused("bias", &|| new(&[16, 16], &weight, &vec![0.0; count]));
    }
    refused("weight", &|| new(&[16, 16], &[], &[]));
}

#[test]
fn convolutions_of_the_same_size() {
    on_every_isa(|isa| {
        let (parts, weight) = ([16, 16], vec![0.0; 20 * 32 * 9]);
        let direct = DirectConv2d::new(isa, &parts, &weight);
        let winograd = [Tile::Two, Tile::Four].map(|tile| WinogradConv2d::new(isa, tile, &parts, &weight));
        let pointwise = PointwiseConv2d::new(isa, 32, &weight[..20 * 32]);
        each_map(["x", "y"], [[2, 32, 4, 6], [2, 20, 4, 6]], |[x, y], operand| {
            let (what, data) = (format!("{isa} {x:?} {y:?}"), zeros(x));
            let run = |run: &dyn Fn(BlockedView, BlockedViewMut)| {
                refused::<f32>(&what, operand, len(y), |out| run(view(x, &data), view_mut(y, out)));
            };
            run(&|x, y| direct.run(x, y));
            winograd.iter().for_each(|layer| run(&|x, y| layer.run(x, y)));
            run(&|x, y| pointwise.run(x, y));
        });
        constructor("direct", |parts, weight, bias| {
            let _ = DirectConv2d::new(isa, parts, weight).with_bias(bias);
        });
        for tile in [Tile::Two, Tile::Four] {
            constructor("winograd", |parts, weight, bias| {
                let _ = WinogradConv2d::new(isa, tile, parts, weight).with_bias(bias);
            });
        }
        each(
            ["weight", "bias", "weight"],
            [20 * 32, 20, 32],
            |n| [0, n - 1, n + 1, n + (1 << 62)],
            |[weight, bias, inputs], operand| {
                if weight.max(bias) > 1 << 20 {
                    return; // no such slices
                }
                let (weight, bias) = (vec![0.0; weight], vec![0.0; bias]);
                refused::<f32>("pointwise", operand, 0, |_| {
                    let _ = PointwiseConv2d::new(isa, inputs, &weight).with_bias(&bias);
                });
            },
        );
        assert_eq!(direct.multiply_adds(4, 6), 9 * 32 * 20 * 24);
        for count in [
            direct.multiply_adds(1 << 63, 2),
            winograd[0].multiply_adds(1 << 63, 1 << 63),
            pointwise.multiply_adds(1 << 63, 2),
        ] {
            assert_eq!(count, u64::MAX);
        }
    });
}

#[test]
fn heads() {
    on_every_isa(|isa| {
        let head = HeadConv2d::new(isa, &[16, 16], &vec![0.0; 2 * 32 * 9]);
        let run = |x: Dims, [first, height, planes]: [usize; 3], operand: &str| {
            let (what, data) = (format!("{isa} {x:?} at {first} of {height}, {planes}"), zeros(x));
            refused::<f32>(&what, operand, planes, |out| head.run(view(x, &data), first, height, out));
        };
        let (x, right) = ([1, 32, 4, 6], [4, 8, 2 * 8 * 6]);
        for x in [[2, 32, 4, 6], [1, 16, 4, 6], [1, 48, 4, 6]] {
            run(x, right, "x");
        }
        for x in [[1, 32, 4, 5], [1, 32, 4, 7]] {
            run(x, right, "planes");
        }
        for first in [5, 8, usize::MAX - 3, usize::MAX] {
            run(x, [first, 8, 96], "rows");
        }
        run([1, 32, 9, 6], [0, 8, 96], "rows");
        // the third wraps to as many planes, the fourth to none
        for (height, planes) in [(0, 96), (7, 96), (8 + (1 << 63), 96), (1 << 63, 0), (usize::MAX, 96)] {
            run(x, [0, height, planes], "planes");
        }
        lengths(96).into_iter().for_each(|planes| run(x, [4, 8, planes], "planes"));
        constructor("head", |parts, weight, bias| {
            let _ = HeadConv2d::new(isa, parts, weight).with_bias(bias);
        });
        assert_eq!(head.multiply_adds(1 << 63, 2), u64::MAX);
    });
}

#[test]
fn convolutions_of_upsampled_maps() {
    on_every_isa(|isa| {
        let weight = vec![0.0; 20 * 32 * 9];
        let layer = |scale| UpsampledConv2d::new(isa, scale, &[32], &weight);
        let two = layer(2);
        let run = |layer: &UpsampledConv2d, x: Dims, y: Dims, rows: std::ops::Range<usize>, operand: &str| {
            let (what, data) = (format!("{isa} {x:?} {y:?} {rows:?}"), zeros(x));
            refused::<f32>(&what, operand, len(y), |out| {
                layer.run(view(x, &data), rows, view_mut(y, out), &mut two.rows_for(16, 6));
            });
        };
        let (x, y) = ([1, 32, 8, 6], [1, 20, 16, 12]);
        each_map(["x", "y"], [x, y], |[x, y], operand| run(&two, x, y, 0..16, operand));
        run(&two, [2, 32, 8, 6], y, 0..16, "x");
        run(&two, [1, 32, 8, 5], y, 0..16, "y");
        #[allow(clippy::reversed_empty_ranges)] // as a wrong caller gives them
        for rows in [0..17, 1..17, 3..3, 5..3, 0..usize::MAX] {
            run(&two, x, y, rows, "rows");
        }
        // a wrapping scale
        run(&layer(2 + (1 << 63)), x, y, 0..16, "scale");
        run(&layer(3), x, y, 0..16, "y");

        let refused_ring = |what: &str, call: &dyn Fn(BlockedViewMut)| {
            refused::<f32>(&format!("{isa} {what}"), "tap_rows", len(y), |out| call(view_mut(y, out)));
        };
        let data = zeros(x);
        let x = view(x, &data);
        refused_ring("for fewer rows", &|y| two.run(x, 0..16, y, &mut two.rows_for(1, 6)));
        refused_ring("for another width", &|y| two.run(x, 0..16, y, &mut two.rows_for(16, 5)));
        refused_ring("further down", &|y| {
            let (mut tap_rows, mut done) = (two.rows_for(8, 6), zeros([1, 20, 2, 12]));
            two.run(x, 12..14, view_mut([1, 20, 2, 12], &mut done), &mut tap_rows);
            two.run(x, 2..4, y.rows(2..4), &mut tap_rows);
        });
        for (rows, width) in
            [(0, 6), (8, 0), (8, 6 + (1 << 63)), (usize::MAX, 6), (8, usize::MAX), (1 << 60, 1 << 10)]
        {
            refused_ring("of no size", &|_| drop(two.rows_for(rows, width)));
        }
        constructor("upsampled", |parts, weight, bias| {
            let _ = UpsampledConv2d::new(isa, 2, parts, weight).with_bias(bias);
        });
        refused::<f32>("scale 0", "scale", 0, |_| drop(layer(0).rows_for(1, 1)));
        assert_eq!(two.multiply_adds(1 << 63, 2), u64::MAX);
    });
}
