//! Transformed and packed weights.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::transform::Transform;
use crate::aligned::AlignedBuffer;
use crate::convolution::channels::{ColumnGroups, InputBlocks, taps_of_block};
use crate::shared::Shared;
use crate::simd::{LANES, Simd, Task};

/// Transforms and packs weights.
pub(crate) struct Pack<'a, T, W> {
    pub(crate) transform: PhantomData<T>,
    pub(crate) inputs: &'a InputBlocks,
    pub(crate) outputs: usize,
    pub(crate) weight: W,
    pub(crate) memory: AlignedBuffer,
}

impl<T: Transform, W: Fn(usize, usize) -> [f32; 9] + Sync> Task for Pack<'_, T, W> {
    type Output = AlignedBuffer;

    #[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
    fn run<S: Simd>(self, simd: S) -> AlignedBuffer {
        let Self { inputs, outputs, weight, memory, .. } = self;
        let positions = T::SIDE * T::SIDE;
        let depth = inputs.len() * inputs.segment;
        let groups = ColumnGroups::new(simd, outputs, depth);
        let mut packed = inputs.weights_memory(memory, positions * groups.elements());
        let out = Shared::new(&mut packed);
        let kernel = T::kernel();
        (0..groups.blocks).into_par_iter().for_each(|block| {
            for (input_block, channels) in inputs.channels.iter().enumerate() {
                for (lane, channel) in channels.clone().enumerate() {
                    let taps = taps_of_block(&weight, outputs, block, channel);
                    let taps = taps.map(|lanes| lanes.map(f64::from));
                    let k = input_block * inputs.segment + lane;
                    simd.vectorize(
                        #[inline(always)]
                        || {
                            for i in 0..T::SIDE {
                                let mut row = [[0.0f64; LANES]; 3];
                                for kx in 0..3 {
                                    for ky in 0..3 {
                                        for lane in 0..LANES {
                                            row[kx][lane] += kernel[i][ky] * taps[3 * ky + kx][lane];
                                        }
                                    }
                                }
                                for j in 0..T::SIDE {
                                    let g = kernel[j];
                                    let at = (i * T::SIDE + j) * groups.elements() + groups.layout(k, block);
                                    // SAFETY: this column block is this task's alone.
                                    let to = unsafe { out.slice(at, LANES) };
                                    for lane in 0..to.len() {
                                        let sum = g[0] * row[0][lane] + g[1] * row[1][lane];
                                        to[lane] = (sum + g[2] * row[2][lane]) as f32;
                                    }
                                }
                            }
                        },
                    );
                }
            }
        });
        packed
    }
}
