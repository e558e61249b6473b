//! Winograd's minimal filtering (Lavin and Gray, arXiv:1509.09308): `y = A^T [(G g G^T) * (B^T d B)] A`.
//!
//! A tile of `TILE` x `TILE` outputs takes `SIDE^2` multiplications a channel pair, instead of `9 TILE^2`. The one-
//! dimensional transforms are written out here; two dimensions apply them to rows, then to columns.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::simd::Simd;

/// Largest [`Transform::SIDE`].
pub(crate) const MAX_SIDE: usize = 6;

/// Values along one side of a tile; those beyond its side are of no account.
pub(crate) type Line<S> = [<S as Simd>::V; MAX_SIDE];

/// The transforms of one F(m x m, 3 x 3).
pub(crate) trait Transform: Copy + Send + Sync + 'static {
    /// m: outputs of a tile along one side.
    const TILE: usize;
    /// m + 2: inputs of a tile along one side.
    const SIDE: usize;

    /// `B^T d`: `SIDE` values from as many.
    fn input<S: Simd>(s: S, d: &Line<S>) -> Line<S>;
    /// `A^T m`: `TILE` values from `SIDE`.
    fn output<S: Simd>(s: S, m: &Line<S>) -> Line<S>;
    /// `A y`, the adjoint of [`Transform::output`], for the weight gradient: `SIDE` values from `TILE`.
    fn output_adjoint<S: Simd>(s: S, y: &Line<S>) -> Line<S>;
    /// G.
    fn kernel() -> [[f64; 3]; MAX_SIDE];
}

/// `one` along the rows of a tile, then along its columns: from `sides[0]` to `sides[1]` values a side. `load` and `store`
/// take row and column.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
pub(crate) fn two_dimensional<S: Simd>(
    s: S,
    sides: [usize; 2],
    one: impl Fn(S, &Line<S>) -> Line<S>,
    load: impl Fn(usize, usize) -> S::V,
    mut store: impl FnMut(usize, usize, S::V),
) {
    let [from, to] = sides;
    let mut half = [[s.splat(0.0); MAX_SIDE]; MAX_SIDE];
    for y in 0..from {
        let mut row = [s.splat(0.0); MAX_SIDE];
        for x in 0..from {
            row[x] = load(y, x);
        }
        half[y] = one(s, &row);
    }
    for x in 0..to {
        let mut column = [s.splat(0.0); MAX_SIDE];
        for y in 0..from {
            column[y] = half[y][x];
        }
        let column = one(s, &column);
        for y in 0..to {
            store(y, x, column[y]);
        }
    }
}

/// F(2x2, 3x3), with the interpolation points 0, 1, -1, infinity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct F2;

impl Transform for F2 {
    const TILE: usize = 2;
    const SIDE: usize = 4;

    #[inline(always)]
    fn input<S: Simd>(s: S, d: &Line<S>) -> Line<S> {
        [s.sub(d[0], d[2]), s.add(d[1], d[2]), s.sub(d[2], d[1]), s.sub(d[3], d[1]), d[0], d[0]]
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: &Line<S>) -> Line<S> {
        [s.add(s.add(m[0], m[1]), m[2]), s.add(s.sub(m[1], m[2]), m[3]), m[0], m[0], m[0], m[0]]
    }
    #[inline(always)]
    fn output_adjoint<S: Simd>(s: S, y: &Line<S>) -> Line<S> {
        [y[0], s.add(y[0], y[1]), s.sub(y[0], y[1]), y[1], y[0], y[0]]
    }
    fn kernel() -> [[f64; 3]; MAX_SIDE] {
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0], [0.0; 3], [0.0; 3]]
    }
}

/// F(4x4, 3x3), with the interpolation points 0, +-1/sqrt 2, +-sqrt 2, infinity: half the rounding error of the
/// usual 0, +-1, +-2, at the same cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct F4;

/// The finite points.
const POINTS: [f64; 5] = [0.0, FRAC_1_SQRT_2, -FRAC_1_SQRT_2, SQRT_2, -SQRT_2];
const P: f32 = FRAC_1_SQRT_2 as f32;
const Q: f32 = SQRT_2 as f32;

impl Transform for F4 {
    const TILE: usize = 4;
    const SIDE: usize = 6;

    #[inline(always)]
    fn input<S: Simd>(s: S, d: &Line<S>) -> Line<S> {
        // rows are the coefficients of the Lagrange polynomials' numerators: for +-p, (x^2 - q^2) x (x +- p)
        let even_p = s.mul_add(s.splat(-2.0), d[2], d[4]);
        let odd_p = s.mul(s.splat(P), s.mul_add(s.splat(-2.0), d[1], d[3]));
        let even_q = s.mul_add(s.splat(-0.5), d[2], d[4]);
        let odd_q = s.mul(s.splat(Q), s.mul_add(s.splat(-0.5), d[1], d[3]));
        [
            s.mul_add(s.splat(-2.5), d[2], s.add(d[0], d[4])),
            s.add(even_p, odd_p),
            s.sub(even_p, odd_p),
            s.add(even_q, odd_q),
            s.sub(even_q, odd_q),
            s.mul_add(s.splat(-2.5), d[3], s.add(d[1], d[5])),
        ]
    }
    #[inline(always)]
    fn output<S: Simd>(s: S, m: &Line<S>) -> Line<S> {
        let (even_p, odd_p) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
        let (even_q, odd_q) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
        [
            s.add(s.add(m[0], even_p), even_q),
            s.mul_add(s.splat(Q), odd_q, s.mul(s.splat(P), odd_p)),
            s.mul_add(s.splat(2.0), even_q, s.mul(s.splat(0.5), even_p)),
            s.mul_add(s.splat(2.0 * Q), odd_q, s.mul_add(s.splat(0.5 * P), odd_p, m[5])),
            m[0],
            m[0],
        ]
    }
    #[inline(always)]
    fn output_adjoint<S: Simd>(s: S, y: &Line<S>) -> Line<S> {
        let even_p = s.mul_add(s.splat(0.5), y[2], y[0]);
        let odd_p = s.mul(s.splat(P), s.mul_add(s.splat(0.5), y[3], y[1]));
        let even_q = s.mul_add(s.splat(2.0), y[2], y[0]);
        let odd_q = s.mul(s.splat(Q), s.mul_add(s.splat(2.0), y[3], y[1]));
        [y[0], s.add(even_p, odd_p), s.sub(even_p, odd_p), s.add(even_q, odd_q), s.sub(even_q, odd_q), y[3]]
    }
    fn kernel() -> [[f64; 3]; MAX_SIDE] {
        let mut rows = [[0.0, 0.0, 1.0]; MAX_SIDE];
        for (row, point) in rows.iter_mut().zip(POINTS) {
            let norm: f64 =
                POINTS.iter().filter(|&&other| other != point).map(|other| point - other).product();
            *row = [1.0 / norm, point / norm, point * point / norm];
        }
        rows
    }
}
