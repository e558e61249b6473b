//! AVX2 and FMA: a block is two registers.

use std::arch::x86_64::*;

use super::{Block, LANES, Simd, panel_instance};
use crate::panel::{ACROSS_LANES, ALONG_LANES, DENSE, Panel, STRIDED, multiply};

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        found.then_some(Self(()))
    }
}

#[target_feature(enable = "avx2,fma")]
fn enabled<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[target_feature(enable = "avx2,fma")]
unsafe fn panel<const M: usize, const N: usize, const STRIDES: bool>(panel: &Panel) {
    // SAFETY: the caller's promise; the features are enabled here.
    unsafe { multiply::<Avx2, M, N, ALONG_LANES, STRIDES>(Avx2(()), panel) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn outer_panel<const M: usize, const N: usize, const STRIDES: bool>(panel: &Panel) {
    // SAFETY: the caller's promise; the features are enabled here.
    unsafe { multiply::<Avx2, M, N, ACROSS_LANES, STRIDES>(Avx2(()), panel) }
}

/// A block in two registers.
#[derive(Clone, Copy)]
pub(crate) struct Pair(__m256, __m256);

/// `f` on both registers.
macro_rules! both {
    ($f:expr, $($v:ident),+) => {
        // SAFETY: the token of the method's receiver proves that the CPU has AVX2 and FMA.
        unsafe { Pair($f($($v.0),+), $f($($v.1),+)) }
    };
}

/// Transposes eight registers of eight lanes.
#[inline(always)]
unsafe fn transpose8(v: [__m256; 8]) -> [__m256; 8] {
    // SAFETY: the caller holds the token.
    unsafe {
        let pd = |v: __m256| _mm256_castps_pd(v);
        let ps = |v: __m256d| _mm256_castpd_ps(v);
        let mut pairs = v;
        for i in (0..8).step_by(2) {
            pairs[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
            pairs[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
        }
        let mut quads = pairs;
        for i in (0..8).step_by(4) {
            quads[i] = ps(_mm256_unpacklo_pd(pd(pairs[i]), pd(pairs[i + 2])));
            quads[i + 1] = ps(_mm256_unpackhi_pd(pd(pairs[i]), pd(pairs[i + 2])));
            quads[i + 2] = ps(_mm256_unpacklo_pd(pd(pairs[i + 1]), pd(pairs[i + 3])));
            quads[i + 3] = ps(_mm256_unpackhi_pd(pd(pairs[i + 1]), pd(pairs[i + 3])));
        }
        let mut out = quads;
        for i in 0..4 {
            out[i] = _mm256_permute2f128_ps::<0x20>(quads[i], quads[4 + i]);
            out[4 + i] = _mm256_permute2f128_ps::<0x31>(quads[i], quads[4 + i]);
        }
        out
    }
}

impl Simd for Avx2 {
    type V = Pair;
    const ROWS: usize = 6;
    const BLOCKS: usize = 1;
    const OUTER_ROWS: usize = 4;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        // SAFETY: the token proves that the CPU has the features.
        unsafe { enabled(f) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> Pair {
        // SAFETY: features by the token.
        unsafe { Pair(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
    }
    #[inline(always)]
    fn load(self, from: &Block) -> Pair {
        // SAFETY: features by the token; sixteen elements by the type.
        unsafe { Pair(_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(8))) }
    }
    #[inline(always)]
    fn store(self, v: Pair, to: &mut Block) {
        // SAFETY: features by the token; sixteen elements by the type.
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), v.0);
            _mm256_storeu_ps(to.as_mut_ptr().add(8), v.1);
        }
    }
    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        both!(_mm256_add_ps, a, b)
    }
    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        both!(_mm256_sub_ps, a, b)
    }
    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        both!(_mm256_mul_ps, a, b)
    }
    #[inline(always)]
    fn mul_add(self, a: Pair, b: Pair, c: Pair) -> Pair {
        both!(_mm256_fmadd_ps, a, b, c)
    }
    #[inline(always)]
    fn at_least(self, v: Pair, lower_bound: Pair) -> Pair {
        // the instruction gives its second operand where either is NaN
        both!(_mm256_max_ps, lower_bound, v)
    }
    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        // the instruction gives b where either is NaN: put a's NaN in
        let one = |a, b| {
            // SAFETY: features by the token.
            unsafe { _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps::<_CMP_UNORD_Q>(a, a)) }
        };
        Pair(one(a.0, b.0), one(a.1, b.1))
    }
    #[inline(always)]
    fn where_positive(self, gate: Pair, v: Pair) -> Pair {
        let one = |gate, v| {
            // SAFETY: features by the token.
            unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(gate, _mm256_setzero_ps()), v) }
        };
        Pair(one(gate.0, v.0), one(gate.1, v.1))
    }
    #[inline(always)]
    fn where_equal(self, a: Pair, b: Pair, v: Pair) -> Pair {
        // SAFETY: features by the token.
        let one = |a, b, v| unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(a, b), v) };
        Pair(one(a.0, b.0, v.0), one(a.1, b.1, v.1))
    }
    #[inline(always)]
    fn transpose(self, v: &mut [Pair; LANES]) {
        let quarter = |rows: usize, high: bool| {
            let row = |i: usize| if high { v[rows + i].1 } else { v[rows + i].0 };
            // SAFETY: features by the token.
            unsafe { transpose8([row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)]) }
        };
        let [top_left, top_right] = [quarter(0, false), quarter(0, true)];
        let [bottom_left, bottom_right] = [quarter(8, false), quarter(8, true)];
        for i in 0..8 {
            v[i] = Pair(top_left[i], bottom_left[i]);
            v[8 + i] = Pair(top_right[i], bottom_right[i]);
        }
    }
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        // SAFETY: a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline]
    unsafe fn panel(self, rows: usize, blocks: usize, p: &Panel) {
        // SAFETY: features by the token; the rest is the caller's promise.
        unsafe { panel_instance!(panel, p, (rows, blocks), [1 2 3 4 5 6], [1]) }
    }
    #[inline]
    unsafe fn outer_panel(self, blocks: usize, p: &Panel) {
        // SAFETY: features by the token; the rest is the caller's promise.
        unsafe { panel_instance!(outer_panel, p, (Self::OUTER_ROWS, blocks), [4], [1]) }
    }
}
