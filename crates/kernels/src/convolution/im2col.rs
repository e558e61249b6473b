//! Unfolding of a 3x3 neighbourhood into the columns of a matrix.

use std::ops::Range;

use crate::scalar::Scalar;

/// Writes, for the output pixels `pixels` (flattened, row-major) of one image, the matrix
/// `columns[(c * 9 + tap) * pixels.len() + p] = x[c][y + ky - 1][x + kx - 1]`, zero outside the image,
/// for the planes of `x` (`[channels, height, width]`).
pub(crate) fn im2col3x3<T: Scalar>(
    x: &[T],
    height: usize,
    width: usize,
    pixels: Range<usize>,
    columns: &mut [T],
) {
    let plane = height * width;
    let n = pixels.len();
    assert_eq!(columns.len(), x.len() / plane * 9 * n);
    for (channel, block) in x.chunks_exact(plane).zip(columns.chunks_exact_mut(9 * n)) {
        for (tap, row) in block.chunks_exact_mut(n).enumerate() {
            shifted_plane(channel, [height, width], [tap / 3, tap % 3], pixels.clone(), row);
        }
    }
}

/// One row of the matrix: the plane shifted by a tap, at the given pixels.
fn shifted_plane<T: Scalar>(
    plane: &[T],
    [height, width]: [usize; 2],
    [ky, kx]: [usize; 2],
    pixels: Range<usize>,
    out: &mut [T],
) {
    let mut out = out;
    let mut at = pixels.start;
    while at < pixels.end {
        let (y, x0) = (at / width, at % width);
        let x1 = width.min(x0 + pixels.end - at);
        let (segment, rest) = out.split_at_mut(x1 - x0);
        out = rest;
        at += segment.len();
        // source row y + ky - 1, source columns x0 + kx - 1 .. x1 + kx - 1
        let Some(source) = (y + ky).checked_sub(1).filter(|&y| y < height) else {
            segment.fill(T::ZERO);
            continue;
        };
        let source = &plane[source * width..][..width];
        let left = usize::from(kx == 0 && x0 == 0);
        let right = usize::from(kx == 2 && x1 == width);
        segment[..left].fill(T::ZERO);
        let inner = left..segment.len() - right;
        if inner.start < inner.end {
            let from = x0 + inner.start + kx - 1;
            let len = inner.len();
            segment[inner].copy_from_slice(&source[from..from + len]);
        }
        let len = segment.len();
        if right == 1 {
            segment[len - 1] = T::ZERO;
        }
    }
}
