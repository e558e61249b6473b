//! What residual networks need beside convolutions: the sum with the shortcut, and overlapping max pooling.

use rayon::prelude::*;

use crate::blocked::{BlockedView, BlockedViewMut};
use crate::simd::{Block, Isa, LANES, Simd, Task};
use crate::sizes::check_size;

/// `y = max(0, y + x)`, of maps of the same size.
///
/// # Panics
/// Where the sizes differ: `y: ...`.
pub fn add_relu_blocked(isa: Isa, x: BlockedView<'_>, y: BlockedViewMut<'_>) {
    check_size("y", y.place.dims(), x.place.dims());
    isa.run(AddRelu { x, y });
}

struct AddRelu<'a> {
    x: BlockedView<'a>,
    y: BlockedViewMut<'a>,
}

impl Task for AddRelu<'_> {
    type Output = ();

    fn run<S: Simd>(self, s: S) {
        let Self { x, y } = self;
        let [blocks, height, width] = x.size();
        (0..x.place.images * blocks * height).into_par_iter().for_each(|task| {
            let (image, block, row) = (task / height / blocks, task / height % blocks, task % height);
            let x = &x.data[image * x.place.image + x.place.at(block, row, 0)..][..width * LANES];
            let at = image * y.place.image + y.place.at(block, row, 0);
            // SAFETY: this row of this block is this task's alone.
            let y = unsafe { y.data.slice(at, width * LANES) };
            let (x, y) = (x.as_chunks::<LANES>().0, y.as_chunks_mut::<LANES>().0);
            s.vectorize(
                #[inline(always)]
                || {
                    let zero = s.splat(0.0);
                    for i in 0..y.len() {
                        let sum = s.add(s.load(&x[i]), s.load(&y[i]));
                        s.store(s.at_least(sum, zero), &mut y[i]);
                    }
                },
            );
        });
    }
}

/// Max pooling by windows of 3x3 with stride 2 that begin a row and a column before the map, whose sides are even, to
/// half its sides. A NaN in a window gives NaN.
///
/// # Panics
/// Where the sizes do not fit: `x: ...` for odd sides, `y: ...`.
pub fn max_pool2d_3x3_blocked(isa: Isa, x: BlockedView<'_>, y: BlockedViewMut<'_>) {
    let [images, blocks, height, width] = x.place.dims();
    assert!(height % 2 == 0 && width % 2 == 0, "x: sides of {height}x{width}, where even ones fit");
    check_size("y", y.place.dims(), [images, blocks, height / 2, width / 2]);
    isa.run(Pool { x, y });
}

struct Pool<'a> {
    x: BlockedView<'a>,
    y: BlockedViewMut<'a>,
}

impl Task for Pool<'_> {
    type Output = ();

    fn run<S: Simd>(self, s: S) {
        let Self { x, y } = self;
        let [blocks, rows, cols] = y.size();
        (0..x.place.images * blocks * rows).into_par_iter().for_each(|task| {
            let (image, block, row) = (task / rows / blocks, task / rows % blocks, task % rows);
            let line = |row: usize| {
                let start = image * x.place.image + x.place.at(block, row, 0);
                x.data[start..][..2 * cols * LANES].as_chunks::<LANES>().0
            };
            // the row before the first takes no part: the first stands for it
            let lines = [line((2 * row).saturating_sub(1)), line(2 * row), line(2 * row + 1)];
            let at = image * y.place.image + y.place.at(block, row, 0);
            // SAFETY: this row of this block is this task's alone.
            let y = unsafe { y.data.slice(at, cols * LANES) };
            pool_line(s, lines, y.as_chunks_mut::<LANES>().0);
        });
    }
}

/// The maxima of the windows over three rows.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
fn pool_line<S: Simd>(s: S, lines: [&[Block]; 3], to: &mut [Block]) {
    s.vectorize(
        #[inline(always)]
        || {
            // as with rows, the first column stands for the one before it
            let mut before = column(s, lines, 0);
            for j in 0..to.len() {
                let (here, behind) = (column(s, lines, 2 * j), column(s, lines, 2 * j + 1));
                s.store(s.max(s.max(before, here), behind), &mut to[j]);
                before = behind;
            }
        },
    );
}

/// The maximum of a column of three rows.
#[inline(always)]
fn column<S: Simd>(s: S, lines: [&[Block]; 3], j: usize) -> S::V {
    let [a, b, c] = [s.load(&lines[0][j]), s.load(&lines[1][j]), s.load(&lines[2][j])];
    s.max(s.max(a, b), c)
}
