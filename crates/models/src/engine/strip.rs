//! Horizontal strips: a map that never exists whole.

use std::ops::Range;

use unet3p_kernels::{BlockedShape, BlockedView, BlockedViewMut};

use super::memory::BorrowedMap;

/// A window of rows of a map that is written from top to bottom by one layer and read by the next, which follows some
/// rows behind; the rows that it still needs are kept from strip to strip.
pub(crate) struct Strip<'a> {
    shape: BlockedShape,
    data: &'a mut [f32],
    /// Rows kept from one strip for the next.
    kept: usize,
    /// Rows of the whole map.
    height: usize,
    /// The row of the map that lies in row `kept` of the window.
    start: usize,
    /// Rows written.
    end: usize,
}

/// What a strip of at most `rows` rows of a map needs, where the reader needs up to `kept` rows from before it.
pub(crate) fn window(map: BlockedShape, rows: usize, kept: usize) -> BlockedShape {
    BlockedShape { height: rows.min(map.height) + kept, ..map }
}

impl<'a> Strip<'a> {
    /// Strips of a map of `height` rows in its [`window`]. Above and beside the map is zero.
    pub(crate) fn new(height: usize, kept: usize, window: BorrowedMap<'a>) -> Self {
        let BorrowedMap { shape, data } = window.for_writing();
        shape.clear_rows(data, 0..kept);
        Self { shape, data, kept, height, start: 0, end: 0 }
    }

    /// Moves on to `rows`, which follow those written last, and gives them for writing.
    pub(crate) fn advance(&mut self, rows: Range<usize>) -> BlockedViewMut<'_> {
        debug_assert_eq!(rows.start, self.end);
        if rows.start > self.start {
            let written = self.end - self.start;
            let (shape, kept) = (self.shape, self.kept);
            shape.move_rows(self.data, written..written + kept, 0);
        }
        (self.start, self.end) = (rows.start, rows.end);
        if rows.end == self.height {
            // below the map is zero padding
            let (shape, kept) = (self.shape, self.kept);
            shape.clear_rows(self.data, kept + rows.len()..shape.height);
        }
        let (shape, kept) = (self.shape, self.kept);
        shape.view_mut(self.data).rows(kept..kept + rows.len())
    }

    /// Rows of the map for reading, of those written or kept.
    pub(crate) fn rows(&self, rows: Range<usize>) -> BlockedView<'_> {
        let place = |row: usize| row + self.kept - self.start;
        self.shape.view(self.data).rows(place(rows.start)..place(rows.end))
    }
}

/// The rows of each strip of a map.
pub(crate) fn strips(height: usize, rows: usize) -> impl Iterator<Item = Range<usize>> {
    (0..height).step_by(rows).map(move |start| start..height.min(start + rows))
}

/// The rows that a reader can compute once `written` rows of `height` are there, where it needs `behind` rows below each
/// and its own rows come in steps of `step`.
pub(crate) fn readable(written: &Range<usize>, height: usize, behind: usize, step: usize) -> Range<usize> {
    let until = |end: usize| if end == height { end } else { end.saturating_sub(behind) / step * step };
    until(written.start)..until(written.end)
}
