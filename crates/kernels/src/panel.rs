//! The micro-kernel: a small matrix product that stays in registers.

use std::ops::Range;

use crate::simd::{Block, LANES, Simd};

/// Rows are `LANES` elements apart, `k` runs along the lanes: pixels or tiles as rows, channels as `k`.
pub(crate) const ALONG_LANES: bool = false;
/// Rows are neighbouring lanes, `k` runs in steps of `LANES`: channels as rows, pixels or tiles as `k`.
pub(crate) const ACROSS_LANES: bool = true;

/// The strides of `a` and `c` are `LANES`, known to the compiler: short sums notice.
pub(crate) const DENSE: bool = false;
/// The strides of `a` and `c` are the panel's.
pub(crate) const STRIDED: bool = true;

/// `k` is cut in quarters of a block, so that a segment of few channels costs little.
pub(crate) const SEGMENT_STEP: usize = 4;

/// What a sum starts from.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// The value in each column: a bias; the pointer is to `blocks * LANES` of them.
    Columns(*const f32),
    /// Zero.
    Zero,
    /// What is in `c`.
    Output,
}

/// `c = max(lower_bound, start + a b)` for a few rows of `a` and a few column blocks of `b`.
///
/// `a` is read in `segments`: element k of segment s of row r lies at `a + segments[s] + r * a_stride + k`
/// ([`ALONG_LANES`]) or `a + segments[s] + r + k * a_stride` ([`ACROSS_LANES`]). So one kernel serves Winograd,
/// where the segments are channel blocks, and direct convolution, where they are channel blocks times taps; a stride
/// above `LANES` leaves pixels out.
/// `b` is packed, `[segment][k][block][lane]`; with [`ACROSS_LANES`] step k of block n lies at
/// `b + k * b_strides[0] + n * b_strides[1]` instead. Row r of column block n of `c` lies at
/// `c + n * block_stride + r * c_stride`.
///
/// # Safety
/// Whoever runs a panel promises that all these places, for the rows and blocks at hand, lie within live
/// allocations, that those of `c` are written by nobody else meanwhile, and that `segment` is a multiple of
/// [`SEGMENT_STEP`].
pub(crate) struct Panel<'a> {
    pub(crate) a: *const f32,
    pub(crate) a_stride: usize,
    pub(crate) segments: &'a [usize],
    /// Values of k in a segment.
    pub(crate) segment: usize,
    pub(crate) b: *const f32,
    pub(crate) b_strides: [usize; 2],
    pub(crate) c: *mut f32,
    pub(crate) c_stride: usize,
    pub(crate) block_stride: usize,
    pub(crate) start: Start,
    pub(crate) lower_bound: f32,
}

impl Panel<'_> {
    /// Whether an instance that is [`DENSE`] can run it.
    #[inline(always)]
    pub(crate) fn is_dense(&self) -> bool {
        self.a_stride == LANES && self.c_stride == LANES
    }
}

/// The strides of a `b` that is packed.
pub(crate) const PACKED: [usize; 2] = [0; 2];

/// How far ahead of its use `b` is asked for, in blocks.
const PREFETCH: usize = 48;

/// Runs a panel of `M` rows and `N` column blocks, [`DENSE`] or [`STRIDED`].
///
/// # Safety
/// As [`Panel`] says, and it is dense where the instance is.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
pub(crate) unsafe fn multiply<
    S: Simd,
    const M: usize,
    const N: usize,
    const ACROSS: bool,
    const STRIDES: bool,
>(
    simd: S,
    panel: &Panel,
) {
    let [stride, c_stride] = if STRIDES == STRIDED { [panel.a_stride, panel.c_stride] } else { [LANES; 2] };
    let (row_stride, k_stride) = if ACROSS { (1, stride) } else { (stride, 1) };
    let [b_step, b_block] = if ACROSS { panel.b_strides } else { [N * LANES, LANES] };
    // SAFETY: every address is one that the panel's promise covers.
    unsafe {
        let c = |r: usize, n: usize| panel.c.add(n * panel.block_stride + r * c_stride).cast::<Block>();
        let mut sums = [[simd.splat(0.0); N]; M];
        match panel.start {
            Start::Zero => {}
            Start::Columns(bias) => {
                for n in 0..N {
                    let bias = simd.load(&*bias.add(n * LANES).cast::<Block>());
                    for r in 0..M {
                        sums[r][n] = bias;
                    }
                }
            }
            Start::Output => {
                for r in 0..M {
                    for n in 0..N {
                        sums[r][n] = simd.load(&*c(r, n));
                    }
                }
            }
        }
        let mut b = panel.b;
        for s in 0..panel.segments.len() {
            let mut a = panel.a.add(*panel.segments.get_unchecked(s));
            for _ in 0..panel.segment / SEGMENT_STEP {
                for i in 0..SEGMENT_STEP * N {
                    simd.prefetch(b.wrapping_add((PREFETCH + i) * LANES));
                }
                for k in 0..SEGMENT_STEP {
                    let mut columns = [simd.splat(0.0); N];
                    for n in 0..N {
                        columns[n] = simd.load(&*b.add(k * b_step + n * b_block).cast::<Block>());
                    }
                    for r in 0..M {
                        let x = simd.splat(*a.add(r * row_stride + k * k_stride));
                        for n in 0..N {
                            sums[r][n] = simd.mul_add(x, columns[n], sums[r][n]);
                        }
                    }
                }
                a = a.add(SEGMENT_STEP * k_stride);
                b = b.add(SEGMENT_STEP * b_step);
            }
        }
        let lower_bound = simd.splat(panel.lower_bound);
        for r in 0..M {
            for n in 0..N {
                simd.store(simd.at_least(sums[r][n], lower_bound), &mut *c(r, n));
            }
        }
    }
}

/// `count` pixels or tiles as rows of the micro-kernel: panels of at most `most` rows, of about the same height.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panels {
    count: usize,
    panels: usize,
}

impl Panels {
    pub(crate) fn new(count: usize, most: usize) -> Self {
        Self { count, panels: count.div_ceil(most) }
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Range<usize>> {
        let start = move |panel: usize| panel * self.count / self.panels;
        (0..self.panels).map(move |panel| start(panel)..start(panel + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_are_even() {
        for count in 1..100 {
            let sizes: Vec<_> = Panels::new(count, 14).iter().map(|panel| panel.len()).collect();
            assert_eq!(sizes.iter().sum::<usize>(), count);
            assert!(sizes.iter().all(|&size| size <= 14 && size + 1 >= sizes[0]));
        }
    }
}
