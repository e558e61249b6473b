//! Plain Rust that the compiler vectorises for whatever the target has.

use super::{Block, LANES, Simd, panel_instance};
use crate::panel::{ACROSS_LANES, ALONG_LANES, DENSE, Panel, STRIDED, multiply};

/// Every CPU has it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Portable;

/// A block whose lane `i` is the expression: a loop that is certainly inlined, which a closure is not.
macro_rules! lanes {
    ($i:ident => $lane:expr) => {{
        let mut lanes = [0.0; LANES];
        for $i in 0..LANES {
            lanes[$i] = $lane;
        }
        lanes
    }};
}

unsafe fn panel<const M: usize, const N: usize, const STRIDES: bool>(panel: &Panel) {
    // SAFETY: the caller's promise.
    unsafe { multiply::<Portable, M, N, ALONG_LANES, STRIDES>(Portable, panel) }
}

unsafe fn outer_panel<const M: usize, const N: usize, const STRIDES: bool>(panel: &Panel) {
    // SAFETY: the caller's promise.
    unsafe { multiply::<Portable, M, N, ACROSS_LANES, STRIDES>(Portable, panel) }
}

#[allow(clippy::needless_range_loop)] // see `lanes`
impl Simd for Portable {
    type V = Block;
    const ROWS: usize = 2;
    const BLOCKS: usize = 1;
    const OUTER_ROWS: usize = 2;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }
    #[inline(always)]
    fn splat(self, value: f32) -> Block {
        [value; LANES]
    }
    #[inline(always)]
    fn load(self, from: &Block) -> Block {
        *from
    }
    #[inline(always)]
    fn store(self, v: Block, to: &mut Block) {
        *to = v;
    }
    #[inline(always)]
    fn add(self, a: Block, b: Block) -> Block {
        lanes!(i => a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Block, b: Block) -> Block {
        lanes!(i => a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Block, b: Block) -> Block {
        lanes!(i => a[i] * b[i])
    }
    #[inline(always)]
    fn mul_add(self, a: Block, b: Block, c: Block) -> Block {
        // without the instruction a fused multiply-add is a slow call
        lanes!(i => a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn at_least(self, v: Block, lower_bound: Block) -> Block {
        lanes!(i => if lower_bound[i] > v[i] { lower_bound[i] } else { v[i] })
    }
    #[inline(always)]
    fn max(self, a: Block, b: Block) -> Block {
        lanes!(i => if a[i] > b[i] || a[i].is_nan() { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn where_positive(self, gate: Block, v: Block) -> Block {
        lanes!(i => if gate[i] > 0.0 { v[i] } else { 0.0 })
    }
    #[inline(always)]
    fn where_equal(self, a: Block, b: Block, v: Block) -> Block {
        lanes!(i => if a[i] == b[i] { v[i] } else { 0.0 })
    }
    #[inline(always)]
    fn transpose(self, v: &mut [Block; LANES]) {
        let from = *v;
        for i in 0..LANES {
            v[i] = lanes!(j => from[j][i]);
        }
    }
    #[inline(always)]
    fn prefetch(self, _: *const f32) {}
    #[inline]
    unsafe fn panel(self, rows: usize, blocks: usize, p: &Panel) {
        // SAFETY: the caller's promise.
        unsafe { panel_instance!(panel, p, (rows, blocks), [1 2], [1]) }
    }
    #[inline]
    unsafe fn outer_panel(self, blocks: usize, p: &Panel) {
        // SAFETY: the caller's promise.
        unsafe { panel_instance!(outer_panel, p, (Self::OUTER_ROWS, blocks), [2], [1]) }
    }
}
