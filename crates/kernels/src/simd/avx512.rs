//! AVX-512: a block is one register.

use std::arch::x86_64::*;

use super::{Block, LANES, Simd, panel_instance};
use crate::panel::{ACROSS_LANES, ALONG_LANES, DENSE, Panel, STRIDED, multiply};

/// Proof that the CPU has AVX-512 F and DQ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq");
        found.then_some(Self(()))
    }
}

#[target_feature(enable = "avx512f,avx512dq")]
fn enabled<R>(f: impl FnOnce() -> R) -> R {
    f()
}

#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn panel<const M: usize, const N: usize, const STRIDES: bool>(panel: &Panel) {
    // SAFETY: the caller's promise; the features are enabled here.
    unsafe { multiply::<Avx512, M, N, ALONG_LANES, STRIDES>(Avx512(()), panel) }
}

#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn outer_panel<const M: usize, const N: usize, const STRIDES: bool>(panel: &Panel) {
    // SAFETY: the caller's promise; the features are enabled here.
    unsafe { multiply::<Avx512, M, N, ACROSS_LANES, STRIDES>(Avx512(()), panel) }
}

impl Simd for Avx512 {
    type V = __m512;
    const ROWS: usize = 14;
    const BLOCKS: usize = 2;
    const OUTER_ROWS: usize = 8;

    #[inline(always)]
    fn vectorize<R>(self, f: impl FnOnce() -> R) -> R {
        // SAFETY: the token proves that the CPU has the features.
        unsafe { enabled(f) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: the token proves that the CPU has the features; so below.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn load(self, from: &Block) -> __m512 {
        // SAFETY: features by the token; sixteen elements by the type.
        unsafe { _mm512_loadu_ps(from.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: __m512, to: &mut Block) {
        // SAFETY: features by the token; sixteen elements by the type.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: features by the token.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: features by the token.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: features by the token.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: features by the token.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn at_least(self, v: __m512, lower_bound: __m512) -> __m512 {
        // SAFETY: features by the token. The instruction gives its second operand where either is NaN.
        unsafe { _mm512_max_ps(lower_bound, v) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: features by the token. The instruction gives b where either is NaN: put a's NaN in.
        unsafe { _mm512_mask_mov_ps(_mm512_max_ps(a, b), _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a), a) }
    }
    #[inline(always)]
    fn where_positive(self, gate: __m512, v: __m512) -> __m512 {
        // SAFETY: features by the token.
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(gate, _mm512_setzero_ps()), v) }
    }
    #[inline(always)]
    fn where_equal(self, a: __m512, b: __m512, v: __m512) -> __m512 {
        // SAFETY: features by the token.
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b), v) }
    }
    #[inline(always)]
    fn transpose(self, v: &mut [__m512; LANES]) {
        // SAFETY: features by the token.
        unsafe {
            // pairs, then quadruples of rows within each quarter of a register ...
            let mut pairs = *v;
            for i in (0..LANES).step_by(2) {
                pairs[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
                pairs[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
            }
            let pd = |v: __m512| _mm512_castps_pd(v);
            let mut quads = pairs;
            for i in (0..LANES).step_by(4) {
                quads[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(pairs[i]), pd(pairs[i + 2])));
                quads[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(pairs[i]), pd(pairs[i + 2])));
                quads[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(pairs[i + 1]), pd(pairs[i + 3])));
                quads[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(pairs[i + 1]), pd(pairs[i + 3])));
            }
            // ... then the quarters of four registers
            for i in 0..4 {
                let [a, b, c, d] = [quads[i], quads[4 + i], quads[8 + i], quads[12 + i]];
                let (low, high) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (low2, high2) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
                v[i] = _mm512_shuffle_f32x4::<0x88>(low, low2);
                v[4 + i] = _mm512_shuffle_f32x4::<0x88>(high, high2);
                v[8 + i] = _mm512_shuffle_f32x4::<0xdd>(low, low2);
                v[12 + i] = _mm512_shuffle_f32x4::<0xdd>(high, high2);
            }
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
        unsafe { panel_instance!(panel, p, (rows, blocks), [1 2 3 4 5 6 7 8 9 10 11 12 13 14], [1 2]) }
    }
    #[inline]
    unsafe fn outer_panel(self, blocks: usize, p: &Panel) {
        // SAFETY: features by the token; the rest is the caller's promise.
        unsafe { panel_instance!(outer_panel, p, (Self::OUTER_ROWS, blocks), [8], [1 2]) }
    }
}
