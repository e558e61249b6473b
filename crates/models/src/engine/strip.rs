//! Horizontal strips: a map that never exists whole.

use std::ops::Range;

use unet3p_kernels::{AlignedBuffer, BlockedShape, BlockedView, BlockedViewMut};

/// A window of rows of a map that is written from top to bottom by one layer and read by the next, which follows some
/// rows behind; the rows that it still needs are kept from strip to strip.
pub(crate) struct Strip {
    shape: BlockedShape,
    /// The map's elements, and perhaps more.
    data: AlignedBuffer,
    /// Rows kept from one strip for the next.
    kept: usize,
    /// Rows of the whole map.
    height: usize,
    /// The row of the map that lies in row `kept` of the buffer.
    start: usize,
    /// Rows written.
    end: usize,
}

impl Strip {
    /// Strips of at most `rows` rows of a map, in `memory` whatever it holds; the reader needs up to `kept` rows
    /// from before a strip. Above and beside the map is zero.
    pub(crate) fn new(map: BlockedShape, rows: usize, kept: usize, mut memory: AlignedBuffer) -> Self {
        let shape = BlockedShape { height: rows.min(map.height) + kept, ..map };
        if memory.len() < shape.elements() {
            // the old one goes before the new one comes
            drop(memory);
            memory = AlignedBuffer::zeroed(shape.elements());
        }
        let mut strip = Self { shape, data: memory, kept, height: map.height, start: 0, end: 0 };
        shape.clear_halo(strip.elements());
        shape.clear_rows(strip.elements(), 0..kept);
        strip
    }

    /// The memory, for another strip.
    pub(crate) fn into_memory(self) -> AlignedBuffer {
        self.data
    }

    fn elements(&mut self) -> &mut [f32] {
        &mut self.data[..self.shape.elements()]
    }

    /// Moves on to `rows`, which follow those written last, and gives them for writing.
    pub(crate) fn advance(&mut self, rows: Range<usize>) -> BlockedViewMut<'_> {
        debug_assert_eq!(rows.start, self.end);
        if rows.start > self.start {
            let written = self.end - self.start;
            let (shape, kept) = (self.shape, self.kept);
            shape.move_rows(self.elements(), written..written + kept, 0);
        }
        (self.start, self.end) = (rows.start, rows.end);
        if rows.end == self.height {
            // below the map is zero padding
            let (shape, kept) = (self.shape, self.kept);
            shape.clear_rows(self.elements(), kept + rows.len()..shape.height);
        }
        let (shape, kept) = (self.shape, self.kept);
        let data = self.elements();
        shape.view_mut(data).rows(kept..kept + rows.len())
    }

    /// Rows of the map for reading, of those written or kept.
    pub(crate) fn rows(&self, rows: Range<usize>) -> BlockedView<'_> {
        let place = |row: usize| row + self.kept - self.start;
        self.shape.view(&self.data[..self.shape.elements()]).rows(place(rows.start)..place(rows.end))
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
