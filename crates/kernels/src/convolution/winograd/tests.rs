//! Dense tensors through every instruction set, against the definition: forward, input gradient, weight gradient.
#![allow(clippy::unwrap_used)]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::aligned::AlignedBuffer;
use crate::convolution::channels::InputBlocks;
use crate::convolution::dense::{Conv2d, winograd};
use crate::{Isa, reference};

/// Relative L2 error allowed for F(4x4, 3x3) in f32: its transforms lose about four bits of 24.
const BUDGET: f64 = 3e-6;

fn noise(rng: &mut ChaCha8Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn assert_close(what: &str, got: &[f32], want: &[f32]) {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let error = square(&mut got.iter().zip(want).map(|(&g, &w)| f64::from(g) - f64::from(w)));
    let norm = square(&mut want.iter().map(|&w| f64::from(w)));
    assert!(error <= BUDGET * norm, "{what}: relative error {:e}", error / norm);
}

/// Around the tile (4), the block of channels (16) and the blocks of tiles (28); one and several images.
const SHAPES: [[usize; 5]; 9] = [
    [1, 1, 1, 1, 1],
    [1, 3, 5, 3, 4],
    [2, 16, 16, 4, 5],
    [3, 17, 33, 5, 9],
    [1, 32, 48, 16, 16],
    [2, 20, 24, 20, 37],
    [1, 8, 40, 7, 150],
    [5, 16, 31, 8, 8],
    [1, 48, 16, 33, 17],
];

#[test]
fn every_instruction_set_equals_the_definition() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for [batch, in_channels, out_channels, height, width] in SHAPES {
        let shape = Conv2d { batch, in_channels, out_channels, height, width, kernel: 3 };
        let x = noise(&mut rng, batch * in_channels * height * width);
        let w = noise(&mut rng, out_channels * in_channels * 9);
        let bias = noise(&mut rng, out_channels);
        let g = noise(&mut rng, batch * out_channels * height * width);
        let want = reference::conv2d(&shape, &x, &w, Some(&bias));
        let want_x = reference::conv2d_backward_input(&shape, &g, &w);
        let want_w = reference::conv2d_backward_weight(&shape, &x, &g);
        for isa in Isa::available() {
            let what = |part: &str| format!("{isa} {part} {shape:?}");
            let mut y = vec![f32::NAN; want.len()];
            let taps = |o: usize, c: usize| w[(o * in_channels + c) * 9..][..9].try_into().unwrap();
            winograd(isa, &shape, &x, taps, Some(&bias), &mut y);
            assert_close(&what("forward"), &y, &want);

            let mut grad_x = vec![f32::NAN; x.len()];
            let transposed = Conv2d { in_channels: out_channels, out_channels: in_channels, ..shape };
            let flipped =
                |c: usize, o: usize| std::array::from_fn(|tap| w[(o * in_channels + c) * 9 + 8 - tap]);
            winograd(isa, &transposed, &g, flipped, None, &mut grad_x);
            assert_close(&what("input gradient"), &grad_x, &want_x);

            let mut grad_w = vec![f32::NAN; w.len()];
            let planes = |channels| Planes { channels, height, width };
            let source = PlaneSource { data: &x, planes: planes(in_channels) };
            let grad_y = PlaneSource { data: &g, planes: planes(out_channels) };
            let parts = InputBlocks::new(&[in_channels]);
            weight_gradient(
                isa,
                batch,
                [height, width],
                (&source, &parts),
                (&grad_y, out_channels),
                &mut grad_w,
                &mut AlignedBuffer::zeroed(0),
            );
            assert_close(&what("weight gradient"), &grad_w, &want_w);
        }
    }
}
