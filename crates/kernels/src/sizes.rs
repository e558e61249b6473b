//! What every entry checks before it reads or writes anything, once a call and in release builds as well: the unsafe
//! blocks behind it rest on these checks. A message starts with the operand that does not fit.

use std::fmt::Debug;
use std::ops::Range;

/// The product of `sides`: the elements of `what`.
#[track_caller]
pub(crate) fn elements(what: &str, sides: &[usize]) -> usize {
    assert!(!sides.contains(&0), "{what}: {sides:?} has a side of 0");
    match sides.iter().try_fold(1usize, |product, &side| product.checked_mul(side)) {
        Some(product) => product,
        None => panic!("{what}: {sides:?} exceeds the address space"),
    }
}

/// Asserts that a slice of `given` values has these sides.
#[track_caller]
pub(crate) fn check_len(what: &str, given: usize, sides: &[usize]) {
    let wanted = elements(what, sides);
    assert!(given == wanted, "{what}: {given} values, where {sides:?} takes {wanted}");
}

/// How many times a slice of `given` values has these sides: a whole number, not 0.
#[track_caller]
pub(crate) fn check_whole(what: &str, given: usize, sides: &[usize]) -> usize {
    let one = elements(what, sides);
    assert!(
        given > 0 && given.is_multiple_of(one),
        "{what}: {given} values are not a whole number of {sides:?}"
    );
    given / one
}

/// Asserts that sizes are those that fit.
#[track_caller]
pub(crate) fn check_size<T: PartialEq + Debug>(what: &str, given: T, wanted: T) {
    assert!(given == wanted, "{what}: {given:?}, where {wanted:?} fits");
}

/// Asserts that maps fit a layer from `inputs` to `outputs` blocks of channels that keeps rows and columns. A map is given
/// by its name, and its images, blocks, rows and columns.
#[track_caller]
pub(crate) fn check_layer(
    [(x_name, x), (y_name, y)]: [(&str, [usize; 4]); 2],
    [inputs, outputs]: [usize; 2],
) {
    let [images, _, height, width] = x;
    check_size(x_name, x, [images, inputs, height, width]);
    check_size(y_name, y, [images, outputs, height, width]);
}

/// Asserts that there are such rows, perhaps none.
#[track_caller]
pub(crate) fn check_within(what: &str, range: &Range<usize>, len: usize) {
    assert!(range.start <= range.end && range.end <= len, "{what}: {range:?} of {len}");
}

/// Asserts that there are such rows, blocks or images, at least one.
#[track_caller]
pub(crate) fn check_range(what: &str, range: &Range<usize>, len: usize) {
    assert!(!range.is_empty(), "{what}: {range:?} is empty");
    check_within(what, range, len);
}

/// Asserts that maps can be upsampled by `scale`.
#[track_caller]
pub(crate) fn check_scale(scale: usize) {
    assert!(scale > 0, "scale: 0, where 1 or more fits");
}

/// Asserts that there is a step between the pixels of a convolution.
#[track_caller]
pub(crate) fn check_stride(stride: usize) {
    assert!(stride > 0, "stride: 0, where 1 or more fits");
}

/// The sides of a map that is upsampled by `scale`.
#[track_caller]
pub(crate) fn scaled(sides: [usize; 2], scale: usize) -> [usize; 2] {
    check_scale(scale);
    sides.map(|side| elements("scale", &[side, scale]))
}

/// The channels of a concatenation of `parts`, each of which has some.
#[track_caller]
pub(crate) fn total(parts: &[usize]) -> usize {
    assert!(!parts.is_empty() && !parts.contains(&0), "parts: {parts:?} has a part of 0 channels");
    match parts.iter().try_fold(0usize, |sum, &part| sum.checked_add(part)) {
        Some(sum) => sum,
        None => panic!("parts: {parts:?} exceeds the address space"),
    }
}

/// A count of operations, at most `u64::MAX`.
pub(crate) fn count(factors: &[usize]) -> u64 {
    if factors.contains(&0) {
        return 0;
    }
    factors.iter().fold(1, |product: u64, &factor| product.saturating_mul(factor as u64))
}
