//! The kernels that training takes on blocked maps, against the definitions and the dense kernels in f64: on every
//! instruction set that this CPU has, at sizes around every edge, for several images, with signed inputs and NaN in
//! outputs.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_kernels::*;

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

#[test]
fn convolution_of_an_upsampled_map_and_its_gradients() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for scale in [1, 2, 4, 8, 16] {
        for (images, inputs, outputs, height, width) in
            [(1, 5, 3, 1, 1), (2, 16, 16, 3, 5), (1, 20, 33, 6, 2), (3, 80, 16, 5, 15)]
        {
            let (rows, cols) = (height * scale, width * scale);
            let full = Conv2d {
                batch: images,
                in_channels: inputs,
                out_channels: outputs,
                height: rows,
                width: cols,
                kernel: 3,
            };
            let x = noise(&mut rng, images * inputs * height * width);
            let w = noise(&mut rng, outputs * inputs * 9);
            let grad = noise(&mut rng, images * outputs * rows * cols);
            let up = reference::upsample_bilinear2d([height, width], scale, &widen(&x));
            let want = narrow(&reference::conv2d(&full, &up, &widen(&w), None));
            let want_w = narrow(&reference::conv2d_backward_weight(&full, &up, &widen(&grad)));
            let grad_up = reference::conv2d_backward_input(&full, &widen(&grad), &widen(&w));
            let mut want_x = vec![f64::NAN; x.len()];
            upsample_bilinear2d_backward([height, width], scale, &grad_up, &mut want_x);
            let map = BlockedShape { channels: inputs, height, width };
            let to = BlockedShape { channels: outputs, height: rows, width: cols };
            let (from, grad_y) = (batch(map, &[inputs], &x), batch(to, &[outputs], &grad));
            on_every_isa(|isa| {
                let what = format!("{isa} x{scale} {full:?}");
                let conv = BlockedUpsampledConv2d::new(isa, scale, inputs, &w);
                let mut y = dirty_batch(images, to);
                conv.run(map.batch(images, &from), to.batch_mut(images, &mut y));
                assert_close(&what, &dense_batch(to, &[outputs], &y), &want);
                check_gradient(&what, images, map, &[inputs], &narrow(&want_x), |grad_x, write| {
                    let mut grad_w = vec![f32::NAN; w.len()];
                    let (x, grad_y) = (map.batch(images, &from), to.batch(images, &grad_y));
                    conv.backward(x, grad_y, grad_x, write, &mut grad_w);
                    assert_close(&format!("{what}: w"), &grad_w, &want_w);
                });
            });
        }
    }
}

#[test]
fn head_and_its_gradients() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for (images, inputs, outputs, height, width) in
        [(1, 1, 1, 1, 1), (2, 20, 1, 5, 7), (1, 80, 3, 9, 17), (2, 16, 21, 4, 3)]
    {
        let shape =
            Conv2d { batch: images, in_channels: inputs, out_channels: outputs, height, width, kernel: 3 };
        let x = noise(&mut rng, images * inputs * height * width);
        let w = noise(&mut rng, outputs * inputs * 9);
        let bias = noise(&mut rng, outputs);
        let grad = noise(&mut rng, images * outputs * height * width);
        let map = BlockedShape { channels: inputs, height, width };
        let from = batch(map, &[inputs], &x);
        let want = reference::conv2d(&shape, &x, &w, Some(&bias));
        let want_x = reference::conv2d_backward_input(&shape, &grad, &w);
        let want_w = reference::conv2d_backward_weight(&shape, &x, &grad);
        on_every_isa(|isa| {
            let what = format!("{isa} {shape:?}");
            let head = BlockedHead::new(isa, inputs, &w);
            let mut planes = vec![f32::NAN; want.len()];
            head.run(map.batch(images, &from), &bias, &mut planes);
            assert_close(&what, &planes, &want);
            check_gradient(&what, images, map, &[inputs], &want_x, |grad_x, write| {
                let mut grad_w = vec![f32::NAN; w.len()];
                head.backward(map.batch(images, &from), &grad, grad_x, write, &mut grad_w);
                assert_close(&format!("{what}: w"), &grad_w, &want_w);
            });
        });
    }
}

#[test]
fn batch_normalisation_and_its_gradients() {
    for relu in [true, false] {
        check_batch_normalisation(relu);
    }
}

fn check_batch_normalisation(relu: bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let eps = 1e-5;
    for (images, channels, height, width) in
        [(2, 1, 2, 1), (1, 16, 3, 5), (3, 20, 17, 4), (2, 40, 40, 33), (1, 3, 300, 7)]
    {
        let area = height * width;
        // off-centre channels with a black first row
        let z: Vec<f32> = (0..images * channels * area)
            .map(|i| {
                let (channel, pixel) = (i / area % channels, i % area);
                let offset = 0.5 * (channel % 8) as f32;
                if pixel < width { offset - 3.0 } else { offset + rng.random_range(-1.0..1.0) }
            })
            .collect();
        let (gamma, beta) = (noise(&mut rng, channels), noise(&mut rng, channels));
        let grad = noise(&mut rng, z.len());
        let (wide, wide_gamma) = (widen(&z), widen(&gamma));
        let statistics = channel_statistics(channels, area, &wide);
        let mut want = vec![f64::NAN; z.len()];
        batch_norm(area, &wide, &statistics, eps, &wide_gamma, &widen(&beta), relu, &mut want);
        let map = BlockedShape { channels, height, width };
        let from = batch(map, &[channels], &z);
        on_every_isa(|isa| {
            let what = format!("{isa} {images}x{map:?}, ReLU: {relu}");
            let norm = BlockedBatchNorm::new(isa, map.batch(images, &from), [&gamma, &beta], eps);
            let norm = if relu { norm } else { norm.without_relu() };
            for channel in 0..channels {
                let (got, want) = (norm.statistics(), &statistics);
                let (mean, variance) = (want.mean[channel], want.variance[channel]);
                assert!((got.mean[channel] - mean).abs() <= 1e-6 * mean.abs().max(1.0), "{what}: mean");
                let error = (got.variance[channel] - variance).abs();
                assert!(error <= 1e-5 * variance + 1e-12, "{what}: variance {channel} off by {error:e}");
            }
            let mut y = dirty_batch(images, map);
            norm.run(map.batch(images, &from), map.batch_mut(images, &mut y));
            let y = dense_batch(map, &[channels], &y);
            assert_close(&what, &y, &narrow(&want));

            // with the ReLU's gates as they are in f32: at a kink rounding decides
            let (wide_y, wide_grad) = (widen(&y), widen(&grad));
            let (by_gamma, by_beta) =
                batch_norm_backward_sums(area, &wide, &wide_y, &wide_grad, &statistics, eps, relu);
            let mut want_z = vec![f64::NAN; z.len()];
            let sums = Some((&by_gamma[..], &by_beta[..]));
            batch_norm_backward_input(
                area,
                &wide,
                &wide_y,
                &wide_grad,
                &statistics,
                eps,
                &wide_gamma,
                relu,
                sums,
                &mut want_z,
            );
            let mut grad = batch(map, &[channels], &grad);
            let [got_gamma, got_beta] =
                norm.backward(map.batch(images, &from), map.batch_mut(images, &mut grad));
            assert_close(&format!("{what}: beta"), &got_beta, &narrow(&by_beta));
            assert_close(&format!("{what}: gamma"), &got_gamma, &narrow(&by_gamma));
            assert_close(&format!("{what}: z"), &dense_batch(map, &[channels], &grad), &narrow(&want_z));
        });
    }
}

#[test]
fn pooling_by_several_windows_and_its_gradient() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for (images, channels, levels, rows, cols) in
        [(1, 1, 1, 1, 1), (2, 16, 2, 2, 3), (1, 40, 3, 2, 1), (3, 5, 3, 1, 2)]
    {
        let [height, width] = [rows, cols].map(|side| side << levels);
        // few values, so that windows have ties
        let x: Vec<f32> =
            (0..images * channels * height * width).map(|_| rng.random_range(-2..3) as f32).collect();
        let map = BlockedShape { channels, height, width };
        let from = batch(map, &[channels], &x);
        let shapes: Vec<_> = (1..=levels)
            .map(|level| BlockedShape { channels, height: height >> level, width: width >> level })
            .collect();
        let mut want_x = vec![0.0f32; x.len()];
        let mut grads = Vec::new();
        let mut wanted = Vec::new();
        for (level, shape) in shapes.iter().enumerate() {
            let (want, places) = reference::max_pool2d([height, width], 2 << level, &x);
            let grad = noise(&mut rng, want.len());
            places.iter().zip(&grad).for_each(|(&place, grad)| want_x[place] += grad);
            grads.push(batch(*shape, &[channels], &grad));
            wanted.push(want);
        }
        on_every_isa(|isa| {
            let what = format!("{isa} {images}x{map:?} {levels}");
            let mut pooled: Vec<_> = shapes.iter().map(|&shape| dirty_batch(images, shape)).collect();
            let mut views: Vec<_> =
                shapes.iter().zip(&mut pooled).map(|(shape, data)| shape.batch_mut(images, data)).collect();
            max_pools2d_blocked(isa, map.batch(images, &from), &mut views);
            for ((shape, pooled), want) in shapes.iter().zip(&pooled).zip(&wanted) {
                assert_eq!(&dense_batch(*shape, &[channels], pooled), want, "{what}");
            }
            let maxima: Vec<_> =
                shapes.iter().zip(&pooled).map(|(shape, map)| shape.batch(images, map)).collect();
            let grads: Vec<_> =
                shapes.iter().zip(&grads).map(|(shape, map)| shape.batch(images, map)).collect();
            let mut grad_x = batch(map, &[channels], &vec![0.0; x.len()]);
            max_pools2d_blocked_backward(
                isa,
                map.batch(images, &from),
                &maxima,
                &grads,
                map.batch_mut(images, &mut grad_x),
            );
            assert_close(&what, &dense_batch(map, &[channels], &grad_x), &want_x);
        });
    }
}
