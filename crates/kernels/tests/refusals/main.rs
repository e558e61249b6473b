//! Every entry refuses what does not fit: each operand too short, too long and empty, each size 0, one more, and so large
//! that products wrap to what the slices hold. It panics with the documented message, and has written nothing.
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod blocked;
mod convolutions;
mod dense;
mod layers;
mod training;

use std::panic::{AssertUnwindSafe, catch_unwind};

use unet3p_kernels::*;

/// Runs `call` on an output of `len` NaN, and asserts that it panics with a message about `operand` and leaves them.
#[track_caller]
fn refused<T: Scalar>(what: &str, operand: &str, len: usize, call: impl FnOnce(&mut [T])) {
    let mut out = vec![T::from_f64(f64::NAN); len];
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| call(&mut out))) else {
        panic!("{what}: accepted, where {operand} does not fit");
    };
    let message = match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(other) => (*other.downcast_ref::<&str>().unwrap()).to_owned(),
    };
    assert!(
        message.starts_with(&format!("{operand}: ")),
        "{what}: {operand} does not fit, but says {message:?}"
    );
    assert!(out.iter().all(|v| v.to_f64().is_nan()), "{what}: refused after writing");
}

/// Lengths that do not fit where `len` does.
fn lengths(len: usize) -> [usize; 3] {
    [0, len - 1, len + 1]
}

/// Sizes that do not fit where `size` does: the last two make a product with an even number wrap to the right one, and wrap
/// in any product.
fn sizes(size: usize) -> [usize; 4] {
    [0, size + 1, size + (1 << (usize::BITS - 1)), usize::MAX]
}

/// `right` with each value replaced by each of `wrong`'s, and the name that goes with the value.
fn each<const N: usize, const M: usize>(
    names: [&str; N],
    right: [usize; N],
    wrong: fn(usize) -> [usize; M],
    run: impl Fn([usize; N], &str),
) {
    for i in 0..N {
        for value in wrong(right[i]) {
            let mut all = right;
            all[i] = value;
            run(all, names[i]);
        }
    }
}

/// Images, channels, height and width of a blocked map.
type Dims = [usize; 4];

fn shape([_, channels, height, width]: Dims) -> BlockedShape {
    BlockedShape { channels, height, width }
}

fn len(dims: Dims) -> usize {
    dims[0] * shape(dims).elements()
}

fn zeros(dims: Dims) -> Vec<f32> {
    vec![0.0; len(dims)]
}

fn view(dims: Dims, data: &[f32]) -> BlockedView<'_> {
    shape(dims).batch(dims[0], data)
}

fn view_mut(dims: Dims, data: &mut [f32]) -> BlockedViewMut<'_> {
    shape(dims).batch_mut(dims[0], data)
}

/// Maps of which one does not fit, and its name. The first decides about images, rows and columns, so that only its channels
/// can be wrong.
fn each_map<const N: usize>(names: [&str; N], right: [Dims; N], run: impl Fn([Dims; N], &str)) {
    for i in 0..N {
        for side in if i == 0 { 1..2 } else { 0..4 } {
            let step = if side == 1 { LANES } else { 1 };
            for value in [right[i][side].saturating_sub(step), right[i][side] + step] {
                if value > 0 {
                    let mut all = right;
                    all[i][side] = value;
                    run(all, names[i]);
                }
            }
        }
    }
}

/// Runs `check` on every instruction set that this CPU has.
fn on_every_isa(check: impl Fn(Isa)) {
    Isa::available().into_iter().for_each(check);
}
