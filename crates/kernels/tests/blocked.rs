//! The kernels on blocked maps: every algorithm on every instruction set that this CPU has, against the definitions in
//! `reference`, at sizes around every edge, with signed inputs and NaN in outputs.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use unet3p_kernels::*;

fn relu(values: Vec<f32>, relu: bool) -> Vec<f32> {
    if relu { values.into_iter().map(|v| v.max(0.0)).collect() } else { values }
}

type Size = (&'static [usize], usize, usize, usize);

/// (parts of the input, outputs, height, width): tiles are of 2 and 4, panels of 2, 6 and 14 pixels, blocks of 28 tiles.
const SIZES: [Size; 10] = [
    (&[1], 1, 1, 1),
    (&[3], 20, 3, 5),
    (&[3], 16, 16, 29),
    (&[16], 32, 4, 4),
    (&[17], 33, 5, 9),
    (&[8, 8, 8, 8, 8], 40, 6, 13),
    (&[16, 20, 4], 80, 8, 14),
    (&[32], 16, 13, 60),
    (&[64], 48, 24, 15),
    (&[80], 80, 20, 20),
];

#[test]
fn convolution() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (parts, outputs, height, width) in SIZES {
        let inputs = parts.iter().sum::<usize>();
        let shape = Conv2d { batch: 1, in_channels: inputs, out_channels: outputs, height, width, kernel: 3 };
        let x = noise(&mut rng, inputs * height * width);
        let w = noise(&mut rng, outputs * inputs * 9);
        let bias = noise(&mut rng, outputs);
        let map = map_of(parts, height, width);
        let from = blocked(map, parts, &x);
        let to = BlockedShape { channels: outputs, height, width };
        for with_relu in [false, true] {
            let want = relu(reference::conv2d(&shape, &x, &w, Some(&bias)), with_relu);
            on_every_isa(|isa| {
                let run = |what: &str, layer: &dyn Fn(BlockedView, BlockedViewMut)| {
                    let mut y = dirty(to);
                    layer(map.view(&from), to.view_mut(&mut y));
                    assert_close(&format!("{isa} {what} {shape:?} {parts:?}"), &dense(to, &mut y), &want);
                };
                for tile in [Tile::Two, Tile::Four] {
                    let layer = WinogradConv2d::new(isa, tile, parts, &w).with_bias(&bias);
                    let layer = if with_relu { layer.with_relu() } else { layer };
                    run(&format!("{tile:?}"), &|x, y| layer.run(x, y));
                }
                let layer = DirectConv2d::new(isa, parts, &w).with_bias(&bias);
                let layer = if with_relu { layer.with_relu() } else { layer };
                run("direct", &|x, y| layer.run(x, y));
                let layer = UpsampledConv2d::new(isa, 1, parts, &w).with_bias(&bias);
                let layer = if with_relu { layer.with_relu() } else { layer };
                run("upsampled by 1", &|x, y| layer.run(x, 0..height, y, &mut layer.rows_for(height, width)));
                if !with_relu {
                    let mut y = vec![f32::NAN; want.len()];
                    let layer = HeadConv2d::new(isa, parts, &w).with_bias(&bias);
                    layer.run(map.view(&from), 0, height, &mut y);
                    assert_close(&format!("{isa} head {shape:?}"), &y, &want);
                }
            });
        }
    }
}

#[test]
fn convolution_of_an_upsampled_map() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for scale in [2, 4, 8, 16] {
        for (inputs, outputs, height, width) in
            [(5, 3, 1, 1), (16, 16, 3, 5), (20, 33, 6, 2), (80, 16, 5, 15)]
        {
            let x = noise(&mut rng, inputs * height * width);
            let w = noise(&mut rng, outputs * inputs * 9);
            let bias = noise(&mut rng, outputs);
            let full = Conv2d {
                batch: 1,
                in_channels: inputs,
                out_channels: outputs,
                height: height * scale,
                width: width * scale,
                kernel: 3,
            };
            let up = reference::upsample_bilinear2d([height, width], scale, &x);
            let want = relu(reference::conv2d(&full, &up, &w, Some(&bias)), true);
            let map = BlockedShape { channels: inputs, height, width };
            let from = blocked(map, &[inputs], &x);
            let to = BlockedShape { channels: outputs, height: full.height, width: full.width };
            on_every_isa(|isa| {
                let layer = UpsampledConv2d::new(isa, scale, &[inputs], &w).with_bias(&bias).with_relu();
                // whole, and in strips that share the tap rows
                for strip in [full.height, 4, 6] {
                    let mut tap_rows = layer.rows_for(strip, width);
                    let mut y = dirty(to);
                    for start in (0..full.height).step_by(strip) {
                        let rows = start..full.height.min(start + strip);
                        let part = to.view_mut(&mut y).rows(rows.clone());
                        layer.run(map.view(&from), rows, part, &mut tap_rows);
                    }
                    assert_close(
                        &format!("{isa} x{scale} {full:?} strips of {strip}"),
                        &dense(to, &mut y),
                        &want,
                    );
                }
            });
        }
    }
}

/// Strips of rows and slots of channels are the whole: equal bit for bit where tiles do not shift.
#[test]
fn rows_and_slots() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (inputs, outputs, height, width) = (16, 16, 16, 20);
    let x = noise(&mut rng, inputs * height * width);
    let w = noise(&mut rng, outputs * inputs * 9);
    let bias = noise(&mut rng, outputs);
    let map = BlockedShape { channels: inputs, height, width };
    let from = blocked(map, &[inputs], &x);
    let to = BlockedShape { channels: 3 * outputs, height, width };
    on_every_isa(|isa| {
        let layer = WinogradConv2d::new(isa, Tile::Four, &[inputs], &w).with_bias(&bias);
        let mut whole = dirty(map);
        layer.run(map.view(&from), map.view_mut(&mut whole));
        let whole = dense(map, &mut whole);
        let mut y = AlignedBuffer::zeroed(to.elements());
        for rows in [0..4, 4..12, 12..16] {
            layer.run(map.view(&from).rows(rows.clone()), to.view_mut(&mut y).blocks(1..2).rows(rows));
        }
        let mut planes = vec![f32::NAN; 3 * outputs * height * width];
        to.view(&y).unpack(3 * outputs, &mut planes);
        let (before, rest) = planes.split_at(outputs * height * width);
        let (slot, after) = rest.split_at(outputs * height * width);
        assert!(before.iter().chain(after).all(|&v| v == 0.0), "{isa}: a neighbouring slot was written");
        assert!(slot == whole, "{isa}: strips differ");
    });
}

#[test]
fn nan_is_not_swallowed() {
    let map = BlockedShape { channels: 1, height: 2, width: 2 };
    for place in 0..4 {
        let mut x = [1.0; 4];
        x[place] = f32::NAN;
        let from = blocked(map, &[1], &x);
        on_every_isa(|isa| {
            let to = BlockedShape { channels: 1, height: 1, width: 1 };
            let mut y = dirty(to);
            max_pools2d_blocked(isa, map.view(&from), &mut [to.view_mut(&mut y)]);
            let mut value = [0.0];
            to.view(&y).unpack(1, &mut value);
            assert!(value[0].is_nan(), "{isa}: pooling, {place}");

            let mut w = [0.0; 9];
            w[4] = 1.0;
            let mut y = dirty(map);
            DirectConv2d::new(isa, &[1], &w).with_relu().run(map.view(&from), map.view_mut(&mut y));
            let mut values = [0.0; 4];
            map.view(&y).unpack(1, &mut values);
            assert!(values[place].is_nan(), "{isa}: ReLU, {place}");
        });
    }
}

/// The result may not depend on the number of threads.
#[test]
fn threads_do_not_change_the_result() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let map = BlockedShape { channels: 48, height: 40, width: 44 };
    let x = noise(&mut rng, 48 * 40 * 44);
    let w = noise(&mut rng, 48 * 48 * 9);
    let from = blocked(map, &[48], &x);
    on_every_isa(|isa| {
        let layer = WinogradConv2d::new(isa, Tile::Four, &[48], &w).with_bias(&[0.5; 48]).with_relu();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut y = dirty(map);
            pool.install(|| layer.run(map.view(&from), map.view_mut(&mut y)));
            dense(map, &mut y)
        };
        let one = run(1);
        assert!([2, 3, 5].into_iter().all(|threads| run(threads) == one), "{isa}");
    });
}

#[test]
fn pointwise_convolution() {
    let mut rng = ChaCha8Rng::seed_from_u64(21);
    for (inputs, outputs, height, width) in
        [(1, 1, 1, 1), (3, 20, 2, 7), (16, 16, 4, 29), (147, 64, 5, 9), (70, 33, 3, 15)]
    {
        let shape = Conv2d { batch: 1, in_channels: inputs, out_channels: outputs, height, width, kernel: 1 };
        let x = noise(&mut rng, inputs * height * width);
        let (w, bias) = (noise(&mut rng, outputs * inputs), noise(&mut rng, outputs));
        let map = BlockedShape { channels: inputs, height, width };
        let from = blocked(map, &[inputs], &x);
        let to = BlockedShape { channels: outputs, height, width };
        for with_relu in [false, true] {
            let want = relu(reference::conv2d(&shape, &x, &w, Some(&bias)), with_relu);
            on_every_isa(|isa| {
                let mut y = dirty(to);
                let layer = PointwiseConv2d::new(isa, inputs, &w).with_bias(&bias);
                let layer = if with_relu { layer.with_relu() } else { layer };
                layer.run(map.view(&from), to.view_mut(&mut y));
                assert_close(&format!("{isa} {shape:?}"), &dense(to, &mut y), &want);
            });
        }
    }
}

#[test]
fn neighbourhoods_as_channels() {
    let mut rng = ChaCha8Rng::seed_from_u64(22);
    for (channels, kernel, stride, height, width) in [
        (1, 1, 1, 1, 1),
        (3, 7, 2, 2, 2),
        (3, 7, 2, 12, 10),
        (20, 3, 2, 6, 8),
        (16, 1, 2, 4, 6),
        (5, 3, 1, 3, 7),
    ] {
        let x = noise(&mut rng, channels * height * width);
        let map = BlockedShape { channels, height, width };
        let from = blocked(map, &[channels], &x);
        let columns = channels * kernel * kernel;
        let to = BlockedShape { channels: columns, height: height / stride, width: width / stride };
        let mut y = dirty(to);
        unfold2d_blocked(map.view(&from), channels, kernel, stride, to.view_mut(&mut y));
        let want = reference::unfold2d([height, width], kernel, stride, &x);
        assert_eq!(dense(to, &mut y), want, "{channels} channels, kernel {kernel}, stride {stride}");
    }
}

#[test]
fn sums_with_a_shortcut_and_overlapping_pooling() {
    let mut rng = ChaCha8Rng::seed_from_u64(23);
    for (channels, height, width) in [(1, 2, 2), (20, 6, 10), (33, 4, 62)] {
        let [x, y] = [(); 2].map(|()| noise(&mut rng, channels * height * width));
        let map = BlockedShape { channels, height, width };
        let from = blocked(map, &[channels], &x);
        let want: Vec<f32> = x.iter().zip(&y).map(|(x, y)| (x + y).max(0.0)).collect();
        let window = Window { side: 3, stride: 2, padding: 1 };
        let (pooled, _) = reference::max_pool2d([height, width], window, &x);
        let half = BlockedShape { channels, height: height / 2, width: width / 2 };
        on_every_isa(|isa| {
            let mut to = blocked(map, &[channels], &y);
            add_relu_blocked(isa, map.view(&from), map.view_mut(&mut to));
            assert_eq!(dense(map, &mut to), want, "{isa} {map:?}");
            let mut to = dirty(half);
            max_pool2d_3x3_blocked(isa, map.view(&from), half.view_mut(&mut to));
            assert_eq!(dense(half, &mut to), pooled, "{isa} {map:?}");
        });
    }
}
