//! Max pooling by windows that overlap, as residual networks begin with.

use rayon::prelude::*;

use crate::blocked::{BlockedView, BlockedViewMut};
use crate::simd::{Block, Isa, LANES, Simd, Task};
use crate::sizes::check_size;
use crate::write::Write;

/// Max pooling by windows of 3x3 with stride 2 that begin a row and a column before the map, whose sides are even, to
/// half its sides. A NaN in a window gives NaN.
///
/// # Panics
/// Where the sizes do not fit: `x: ...` for odd sides, `y: ...`.
pub fn max_pool2d_3x3_blocked(isa: Isa, x: BlockedView<'_>, y: BlockedViewMut<'_>) {
    let [images, blocks, height, width] = x.layout.dims();
    assert!(height % 2 == 0 && width % 2 == 0, "x: sides of {height}x{width}, where even ones fit");
    check_size("y", y.layout.dims(), [images, blocks, height / 2, width / 2]);
    isa.run(Pool { x, y });
}

/// The gradient of `x` from that of `y`, its [`max_pool2d_3x3_blocked`]: that of each pixel of `y` goes whole to the first
/// maximum of its window in row-major order; to none where the window has a NaN.
///
/// # Panics
/// Where the sizes do not fit: `x: ...` for odd sides, `y: ...`, `grad_y: ...`, `grad_x: ...`.
///
/// ```
/// use unet3p_kernels::{AlignedBuffer, BlockedShape, Isa, Write, max_pool2d_3x3_blocked_backward};
///
/// let map = BlockedShape { channels: 1, height: 2, width: 2 };
/// let half = BlockedShape { channels: 1, height: 1, width: 1 };
/// let [mut x, mut grad_x] = [(); 2].map(|()| AlignedBuffer::zeroed(map.elements()));
/// let [mut y, mut grad_y] = [(); 2].map(|()| AlignedBuffer::zeroed(half.elements()));
/// map.view_mut(&mut x).pack(1, &[1.0, 4.0, 2.0, 4.0]);
/// half.view_mut(&mut y).pack(1, &[4.0]);
/// half.view_mut(&mut grad_y).pack(1, &[0.5]);
/// let (x, y, grad_y) = (map.view(&x), half.view(&y), half.view(&grad_y));
/// max_pool2d_3x3_blocked_backward(Isa::current(), x, y, grad_y, map.view_mut(&mut grad_x), Write::Replace);
/// let mut planes = [f32::NAN; 4];
/// map.view(&grad_x).unpack(1, &mut planes);
/// assert_eq!(planes, [0.0, 0.5, 0.0, 0.0]);
/// ```
pub fn max_pool2d_3x3_blocked_backward(
    isa: Isa,
    x: BlockedView<'_>,
    y: BlockedView<'_>,
    grad_y: BlockedView<'_>,
    grad_x: BlockedViewMut<'_>,
    write: Write,
) {
    let [images, blocks, height, width] = x.layout.dims();
    assert!(height % 2 == 0 && width % 2 == 0, "x: sides of {height}x{width}, where even ones fit");
    check_size("y", y.layout.dims(), [images, blocks, height / 2, width / 2]);
    check_size("grad_y", grad_y.layout.dims(), y.layout.dims());
    check_size("grad_x", grad_x.layout.dims(), x.layout.dims());
    isa.run(PoolBackward { x, y, grad_y, grad_x, write });
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
        (0..x.layout.images * blocks * rows).into_par_iter().for_each(|task| {
            let (image, block, row) = (task / rows / blocks, task / rows % blocks, task % rows);
            let line = |row: usize| {
                let start = image * x.layout.image + x.layout.at(block, row, 0);
                x.data[start..][..2 * cols * LANES].as_chunks::<LANES>().0
            };
            // the row before the first takes no part: the first stands for it
            let lines = [line((2 * row).saturating_sub(1)), line(2 * row), line(2 * row + 1)];
            let at = image * y.layout.image + y.layout.at(block, row, 0);
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

struct PoolBackward<'a> {
    x: BlockedView<'a>,
    y: BlockedView<'a>,
    grad_y: BlockedView<'a>,
    grad_x: BlockedViewMut<'a>,
    write: Write,
}

impl<'a> Task for PoolBackward<'a> {
    type Output = ();

    fn run<S: Simd>(self, s: S) {
        let Self { x, y, grad_y, grad_x, write } = self;
        let [blocks, rows, cols] = y.size();
        // a task writes the two rows that a row of windows begins at, less the one that the windows before begin with
        (0..x.layout.images * blocks * rows).into_par_iter().for_each(|task| {
            let (image, block, row) = (task / rows / blocks, task / rows % blocks, task % rows);
            let line = |map: &BlockedView<'a>, row: usize| -> &'a [Block] {
                let start = image * map.layout.image + map.layout.at(block, row, 0);
                map.data[start..][..map.layout.width * LANES].as_chunks::<LANES>().0
            };
            let [upper, lower] = [0, 1].map(|i| {
                let at = image * grad_x.layout.image + grad_x.layout.at(block, 2 * row + i, 0);
                // SAFETY: these rows of this block are this task's alone.
                let line = unsafe { grad_x.data.slice(at, 2 * cols * LANES) };
                if write == Write::Replace {
                    line.fill(0.0);
                }
                line.as_chunks_mut::<LANES>().0
            });
            let of = |row: usize| [line(&y, row), line(&grad_y, row)];
            let [above, upper_x, lower_x] =
                [(2 * row).saturating_sub(1), 2 * row, 2 * row + 1].map(|row| line(&x, row));
            // the row before the first is no part of the windows
            let first = (row > 0).then_some((above, None));
            let lines = first.into_iter().chain([(upper_x, Some(upper)), (lower_x, Some(&mut *lower))]);
            scatter_line(s, of(row), &mut lines.collect::<Vec<_>>());
            if row + 1 < rows {
                scatter_line(s, of(row + 1), &mut [(lower_x, Some(lower))]);
            }
        });
    }
}

/// Adds the gradients of windows at their first maxima: of the windows over these rows, first to last, each perhaps with the
/// gradient's. The windows may have rows behind these.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
fn scatter_line<S: Simd>(
    s: S,
    [maxima, grads]: [&[Block]; 2],
    lines: &mut [(&[Block], Option<&mut [Block]>)],
) {
    s.vectorize(
        #[inline(always)]
        || {
            for j in 0..maxima.len() {
                let (maximum, mut left) = (s.load(&maxima[j]), s.load(&grads[j]));
                for i in 0..lines.len() {
                    let (x, to) = &mut lines[i];
                    for col in (2 * j).saturating_sub(1)..2 * j + 2 {
                        // what a pixel takes, no later one gets
                        let taken = s.where_equal(s.load(&x[col]), maximum, left);
                        left = s.sub(left, taken);
                        if let Some(to) = to {
                            s.store(s.add(s.load(&to[col]), taken), &mut to[col]);
                        }
                    }
                }
            }
        },
    );
}
