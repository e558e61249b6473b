//! Max pooling of one map by 2, 4, 8, ...: all of it in one reading.

use rayon::prelude::*;

use crate::blocked::{BlockedView, BlockedViewMut};
use crate::simd::{Block, Isa, LANES, Simd, Task};
use crate::sizes::check_size;

/// Max pooling of `x` by windows of 2, 4, 8, ... pixels a side into `pooled`, as many as there are; the sides of `x` are
/// multiples of the largest window. A NaN in a window gives NaN.
///
/// # Panics
/// Where the sides of `x` are no such multiples, or a map has other channels or another size: `x: ...`, `pooled: ...`.
pub fn max_pools2d_blocked(isa: Isa, x: BlockedView<'_>, pooled: &mut [BlockedViewMut<'_>]) {
    check(x, "pooled", pooled.iter().map(|y| y.layout.dims()));
    if !pooled.is_empty() {
        isa.run(Forward { x, pooled });
    }
}

/// Adds the gradients of [`max_pools2d_blocked`]'s results to that of `x`: each goes whole to the first maximum of its
/// window in row-major order.
///
/// # Panics
/// As [`max_pools2d_blocked`], with `grads: ...` for their number as well, and `grad_x: ...`.
pub fn max_pools2d_blocked_backward(
    isa: Isa,
    x: BlockedView<'_>,
    pooled: &[BlockedView<'_>],
    grads: &[BlockedView<'_>],
    grad_x: BlockedViewMut<'_>,
) {
    check_size("grads", grads.len(), pooled.len());
    for (what, maps) in [("pooled", pooled), ("grads", grads)] {
        check(x, what, maps.iter().map(|y| y.layout.dims()));
    }
    check_size("grad_x", grad_x.layout.dims(), x.layout.dims());
    if !pooled.is_empty() {
        isa.run(Backward { x, pooled, grads, grad_x });
    }
}

/// Checks maps of `x` pooled by 2, 4, 8, ..., with their name.
#[track_caller]
fn check(x: BlockedView<'_>, what: &str, pooled: impl Iterator<Item = [usize; 4]>) {
    let [images, blocks, height, width] = x.layout.dims();
    for (i, size) in pooled.enumerate() {
        let window = 2usize << i;
        assert!(
            height.is_multiple_of(window) && width.is_multiple_of(window),
            "x: {height}x{width}, where multiples of {window} fit"
        );
        check_size(what, size, [images, blocks, height / window, width / window]);
    }
}

struct Forward<'a, 'b> {
    x: BlockedView<'a>,
    pooled: &'a mut [BlockedViewMut<'b>],
}

impl Task for Forward<'_, '_> {
    type Output = ();

    fn run<S: Simd>(self, s: S) {
        let Self { x, ref pooled } = self;
        let [blocks, height, width] = x.size();
        // a task is the rows of one largest window
        let window = 1 << pooled.len();
        let bands = height / window;
        (0..x.layout.images * blocks * bands).into_par_iter().for_each(|task| {
            let (image, block, band) = (task / bands / blocks, task / bands % blocks, task % bands);
            for (level, to) in pooled.iter().enumerate() {
                let (rows, width) = (window >> (level + 1), width >> (level + 1));
                for row in band * rows..(band + 1) * rows {
                    let line = |row: usize| {
                        let start =
                            |layout: &crate::blocked::Layout| image * layout.image + layout.at(block, row, 0);
                        match level.checked_sub(1) {
                            None => &x.data[start(&x.layout)..][..2 * width * LANES],
                            Some(finer) => {
                                let finer = &pooled[finer];
                                // SAFETY: these rows are this task's alone, and were written above.
                                unsafe { &*finer.data.slice(start(&finer.layout), 2 * width * LANES) }
                            }
                        }
                    };
                    let at = image * to.layout.image + to.layout.at(block, row, 0);
                    // SAFETY: this row of this block is this task's alone.
                    let to = unsafe { to.data.slice(at, width * LANES) };
                    halve(s, [line(2 * row), line(2 * row + 1)], to);
                }
            }
        });
    }
}

/// The maxima of 2x2 windows of two rows.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
fn halve<S: Simd>(s: S, rows: [&[f32]; 2], to: &mut [f32]) {
    let [top, bottom] = rows.map(|row| row.as_chunks::<LANES>().0.as_chunks::<2>().0);
    let to = to.as_chunks_mut::<LANES>().0;
    s.vectorize(
        #[inline(always)]
        || {
            for i in 0..to.len() {
                let [a, b] = [s.load(&top[i][0]), s.load(&top[i][1])];
                let [c, d] = [s.load(&bottom[i][0]), s.load(&bottom[i][1])];
                s.store(s.max(s.max(a, b), s.max(c, d)), &mut to[i]);
            }
        },
    );
}

struct Backward<'a> {
    x: BlockedView<'a>,
    pooled: &'a [BlockedView<'a>],
    grads: &'a [BlockedView<'a>],
    grad_x: BlockedViewMut<'a>,
}

impl<'a> Task for Backward<'a> {
    type Output = ();

    fn run<S: Simd>(self, s: S) {
        let Self { x, pooled, grads, grad_x } = self;
        let [blocks, height, width] = x.size();
        let largest = 1 << pooled.len();
        let bands = height / largest;
        (0..x.layout.images * blocks * bands).into_par_iter().for_each(|task| {
            let (image, block, band) = (task / bands / blocks, task / bands % blocks, task % bands);
            for level in 0..pooled.len() {
                let window = 2 << level;
                let width = width / window;
                for row in band * largest / window..(band + 1) * largest / window {
                    let line = |map: &BlockedView<'a>| -> &'a [Block] {
                        let start = image * map.layout.image + map.layout.at(block, row, 0);
                        map.data[start..][..width * LANES].as_chunks::<LANES>().0
                    };
                    let (maxima, grads) = (line(&pooled[level]), line(&grads[level]));
                    let from = image * x.layout.image + x.layout.at(block, row * window, 0);
                    let to = image * grad_x.layout.image + grad_x.layout.at(block, row * window, 0);
                    let row_len = width * window * LANES;
                    let x_rows = &x.data[from..][..(window - 1) * x.layout.pitch + row_len];
                    let reach = (window - 1) * grad_x.layout.pitch + row_len;
                    // SAFETY: the rows of a band are its task's alone.
                    let grad_rows = unsafe { grad_x.data.slice(to, reach) };
                    scatter(
                        s,
                        window,
                        [maxima, grads],
                        (x_rows, x.layout.pitch),
                        (grad_rows, grad_x.layout.pitch),
                    );
                }
            }
        });
    }
}

/// Adds a row of windows' gradients at their first maxima.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
fn scatter<S: Simd>(
    s: S,
    window: usize,
    [maxima, grads]: [&[Block]; 2],
    (x, x_pitch): (&[f32], usize),
    (grad_x, grad_pitch): (&mut [f32], usize),
) {
    s.vectorize(
        #[inline(always)]
        || {
            for j in 0..maxima.len() {
                let (maximum, mut left) = (s.load(&maxima[j]), s.load(&grads[j]));
                for i in 0..window {
                    let at = j * window * LANES;
                    let x = x[i * x_pitch + at..][..window * LANES].as_chunks::<LANES>().0;
                    let to = grad_x[i * grad_pitch + at..][..window * LANES].as_chunks_mut::<LANES>().0;
                    for k in 0..window {
                        // what a pixel takes, no later one gets
                        let taken = s.where_equal(s.load(&x[k]), maximum, left);
                        left = s.sub(left, taken);
                        s.store(s.add(s.load(&to[k]), taken), &mut to[k]);
                    }
                }
            }
        },
    );
}
