//! Which tiles are computed together.

use std::ops::Range;

/// A rectangle of tiles of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) image: usize,
    /// Rows of tiles.
    pub(crate) rows: Range<usize>,
    /// Columns of tiles.
    pub(crate) cols: Range<usize>,
}

impl Patch {
    pub(crate) fn tiles(&self) -> usize {
        self.rows.len() * self.cols.len()
    }

    /// Row and column of each tile.
    pub(crate) fn iter(&self) -> impl Iterator<Item = [usize; 2]> {
        self.rows.clone().flat_map(|row| self.cols.clone().map(move |col| [row, col]))
    }
}

/// Cuts `images` of `rows` x `cols` tiles into blocks of at most `most` tiles: several images where they are small,
/// whole rows where these are short, else parts of a row.
pub(crate) fn blocks(images: usize, rows: usize, cols: usize, most: usize) -> Vec<Vec<Patch>> {
    let most = most.max(1);
    let per_image = rows * cols;
    if per_image <= most {
        let together = (most / per_image).max(1);
        let all: Vec<_> = (0..images).map(|image| Patch { image, rows: 0..rows, cols: 0..cols }).collect();
        return all.chunks(together).map(<[_]>::to_vec).collect();
    }
    let (row_step, col_step) =
        if cols <= most { (even(rows, most / cols), cols) } else { (1, even(cols, most)) };
    let mut found = Vec::new();
    for image in 0..images {
        for row in (0..rows).step_by(row_step) {
            for col in (0..cols).step_by(col_step) {
                let (row_end, col_end) = (rows.min(row + row_step), cols.min(col + col_step));
                found.push(vec![Patch { image, rows: row..row_end, cols: col..col_end }]);
            }
        }
    }
    found
}

/// The step that cuts `len` into as many parts as `most` does, of about the same length.
fn even(len: usize, most: usize) -> usize {
    len.div_ceil(len.div_ceil(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tile_once() {
        for [images, rows, cols, most] in
            [[1, 1, 1, 28], [3, 2, 2, 28], [2, 5, 5, 14], [1, 80, 80, 28], [2, 3, 40, 28]]
        {
            let blocks = blocks(images, rows, cols, most);
            let mut seen: Vec<_> = blocks
                .iter()
                .flatten()
                .flat_map(|patch| patch.iter().map(|tile| (patch.image, tile)))
                .collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), images * rows * cols);
            assert!(
                blocks
                    .iter()
                    .all(|block| block.iter().map(Patch::tiles).sum::<usize>() <= most.max(rows * cols))
            );
        }
    }
}
