//! The sum of a residual block with its shortcut.

use rayon::prelude::*;

use crate::blocked::{BlockedView, BlockedViewMut};
use crate::simd::{Isa, LANES, Simd, Task};
use crate::sizes::check_size;
use crate::write::Write;

/// `y = max(0, y + x)`, of maps of the same size.
///
/// # Panics
/// Where the sizes differ: `y: ...`.
pub fn add_relu_blocked(isa: Isa, x: BlockedView<'_>, y: BlockedViewMut<'_>) {
    check_size("y", y.layout.dims(), x.layout.dims());
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
        (0..x.layout.images * blocks * height).into_par_iter().for_each(|task| {
            let (image, block, row) = (task / height / blocks, task / height % blocks, task % height);
            let x = &x.data[image * x.layout.image + x.layout.at(block, row, 0)..][..width * LANES];
            let at = image * y.layout.image + y.layout.at(block, row, 0);
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

/// The gradient of each input of [`add_relu_blocked`], or of both: that of its result `y` where `y` is above 0, else 0;
/// written to every one of `grads`.
///
/// # Panics
/// Where the sizes differ: `grad_y: ...`, `grads: ...`.
///
/// ```
/// use unet3p_kernels::{AlignedBuffer, BlockedShape, Isa, Write, add_relu_blocked_backward};
///
/// let map = BlockedShape { channels: 1, height: 1, width: 2 };
/// let [mut y, mut grad_y, mut left, mut right] = [(); 4].map(|()| AlignedBuffer::zeroed(map.elements()));
/// map.view_mut(&mut y).pack(1, &[0.0, 3.0]);
/// map.view_mut(&mut grad_y).pack(1, &[5.0, 7.0]);
/// map.view_mut(&mut right).pack(1, &[1.0, 1.0]);
/// let grads = &mut [(map.view_mut(&mut left), Write::Replace), (map.view_mut(&mut right), Write::Add)];
/// add_relu_blocked_backward(Isa::current(), map.view(&y), map.view(&grad_y), grads);
/// let mut planes = [0.0; 2];
/// map.view(&left).unpack(1, &mut planes);
/// assert_eq!(planes, [0.0, 7.0]);
/// map.view(&right).unpack(1, &mut planes);
/// assert_eq!(planes, [1.0, 8.0]);
/// ```
pub fn add_relu_blocked_backward(
    isa: Isa,
    y: BlockedView<'_>,
    grad_y: BlockedView<'_>,
    grads: &mut [(BlockedViewMut<'_>, Write)],
) {
    check_size("grad_y", grad_y.layout.dims(), y.layout.dims());
    for (grad, _) in &*grads {
        check_size("grads", grad.layout.dims(), y.layout.dims());
    }
    isa.run(AddReluBackward { y, grad_y, grads });
}

struct AddReluBackward<'a, 'b> {
    y: BlockedView<'a>,
    grad_y: BlockedView<'a>,
    grads: &'a mut [(BlockedViewMut<'b>, Write)],
}

impl Task for AddReluBackward<'_, '_> {
    type Output = ();

    #[allow(clippy::needless_range_loop)] // iterator adapters are not always inlined where features differ
    fn run<S: Simd>(self, s: S) {
        let Self { y, grad_y, ref grads } = self;
        let [blocks, height, width] = y.size();
        (0..y.layout.images * blocks * height).into_par_iter().for_each(|task| {
            let (image, block, row) = (task / height / blocks, task / height % blocks, task % height);
            let line = |map: &BlockedView<'_>| image * map.layout.image + map.layout.at(block, row, 0);
            let gates = y.data[line(&y)..][..width * LANES].as_chunks::<LANES>().0;
            let from = grad_y.data[line(&grad_y)..][..width * LANES].as_chunks::<LANES>().0;
            for (to, write) in grads.iter() {
                let at = image * to.layout.image + to.layout.at(block, row, 0);
                // SAFETY: this row of this block is this task's alone.
                let to = unsafe { to.data.slice(at, width * LANES) }.as_chunks_mut::<LANES>().0;
                s.vectorize(
                    #[inline(always)]
                    || {
                        for i in 0..to.len() {
                            let grad = s.where_positive(s.load(&gates[i]), s.load(&from[i]));
                            let sum = if *write == Write::Add { s.add(s.load(&to[i]), grad) } else { grad };
                            s.store(sum, &mut to[i]);
                        }
                    },
                );
            }
        });
    }
}
