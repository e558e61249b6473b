//! Large images in overlapping tiles, as nnU-Net predicts them (Isensee et al. 2021): the network sees one tile at a
//! time, so that its memory is that of a tile.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::gate::BeforeGateValues;

/// Sides of tiles are multiples of this.
pub const SIZE_MULTIPLE: usize = 16;

/// Tiles of one size over an image, with the weights that blend their predictions.
///
/// A tile's side is a multiple of [`SIZE_MULTIPLE`], or the image's own where that is shorter. Tiles are evenly
/// spaced, the first at one border of the image and the last at the other; none reaches beyond.
///
/// The blended prediction at pixel i is the sum of w_t(i) p_t(i) over the sum of w_t(i), over the tiles t that hold
/// it. The weight is a Gaussian about the tile's centre with a standard deviation of an eighth of its side: the
/// network knows least of the surroundings at a tile's edge. As tiles form a grid and the Gaussian is a product of
/// one along rows and one along columns, so is the sum of the weights: each axis is normalised by itself, and no
/// image of weights is kept.
#[derive(Debug, Clone)]
pub struct Tiling {
    rows: Axis,
    columns: Axis,
}

impl Tiling {
    /// The share of a tile's side by which neighbours overlap, unless told. Wherever tiles meet, each pixel lies in one
    /// whose edge is at least an eighth of the side away, which is one deviation of the Gaussian. Of a large image the
    /// network computes about 1 / (1 - 0.25)^2 = 1.8 times the pixels; with the 0.5 of nnU-Net it would be 4 times.
    pub const OVERLAP: f64 = 0.25;

    /// Squares with sides of `tile` over an image of `height` x `width`; neighbours share at least `overlap` of a
    /// side.
    ///
    /// # Errors
    /// Where the image has no pixels, as [`check_tile`], or where `overlap` is not at least 0 and below 1.
    pub fn new(height: usize, width: usize, tile: usize, overlap: f64) -> Result<Self> {
        check_tile(tile, SIZE_MULTIPLE)?;
        if height == 0 || width == 0 {
            return Err(Error::Input(format!("an image of {height}x{width} pixels")));
        }
        if !(0.0..1.0).contains(&overlap) {
            return Err(Error::Input(format!("overlap {overlap}: at least 0 and below 1")));
        }
        Ok(Self { rows: Axis::new(height, tile, overlap), columns: Axis::new(width, tile, overlap) })
    }

    /// Height and width of every tile.
    pub fn tile_size(&self) -> (usize, usize) {
        (self.rows.tile, self.columns.tile)
    }

    /// The rows and columns of each tile, row by row.
    pub fn tiles(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
        self.grid().map(|(row, column)| (self.rows.range(row), self.columns.range(column)))
    }

    /// Predicts each tile of `image`, `[channels, height, width]`, and blends the predictions to
    /// `[classes, height, width]`. The presence logits are those of the tile with the largest margin of present
    /// over absent: an organ in one tile is in the image.
    ///
    /// `predict` gets a tile, `[channels, rows, columns]`, with its `(rows, columns)`, and returns
    /// `[classes, rows, columns]`.
    ///
    /// # Errors
    /// Where `image` or a prediction has another number of values; those of `predict`.
    pub fn blend<E: From<Error>>(
        &self,
        image: &[f32],
        classes: usize,
        mut predict: impl FnMut(&[f32], (usize, usize)) -> Result<BeforeGateValues, E>,
    ) -> Result<BeforeGateValues, E> {
        let (height, width) = (self.rows.side, self.columns.side);
        let area = height * width;
        if !image.len().is_multiple_of(area) {
            return Err(Error::Input(format!("{} values for pixels of {height}x{width}", image.len())).into());
        }
        let (tile_height, tile_width) = self.tile_size();
        let expected = classes * tile_height * tile_width;
        let mut blended = BeforeGateValues { prediction: vec![0.0; classes * area], presence: None };
        for at in self.grid() {
            let one = predict(&self.cut(image, at), self.tile_size())?;
            if one.prediction.len() != expected {
                let got = one.prediction.len();
                return Err(
                    Error::Input(format!("a tile's prediction of {got} values, not {expected}")).into()
                );
            }
            self.add(&mut blended.prediction, at, &one.prediction);
            blended.presence = blended.presence.into_iter().chain(one.presence).reduce(more_present);
        }
        Ok(blended)
    }

    /// The tiles' places along rows and columns.
    fn grid(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.rows.starts.len()).flat_map(|row| (0..self.columns.starts.len()).map(move |c| (row, c)))
    }

    /// The pixels of a tile in all planes of an image.
    fn cut(&self, image: &[f32], (row, column): (usize, usize)) -> Vec<f32> {
        let (rows, columns) = (self.rows.range(row), self.columns.range(column));
        let width = self.columns.side;
        let mut pixels = Vec::new();
        for plane in image.chunks_exact(self.rows.side * width) {
            for y in rows.clone() {
                pixels.extend_from_slice(&plane[y * width..][columns.clone()]);
            }
        }
        pixels
    }

    /// Adds a tile's prediction to the sum, weighted.
    fn add(&self, sum: &mut [f32], (row, column): (usize, usize), prediction: &[f32]) {
        let (rows, columns) = (self.rows.range(row), self.columns.range(column));
        let (width, weights) = (self.columns.side, &self.columns.weights[column]);
        let planes = sum.chunks_exact_mut(self.rows.side * width);
        for (plane, prediction) in planes.zip(prediction.chunks_exact(self.rows.tile * self.columns.tile)) {
            let lines = prediction.chunks_exact(self.columns.tile);
            for ((y, line), &row_weight) in rows.clone().zip(lines).zip(&self.rows.weights[row]) {
                let sums = &mut plane[y * width..][columns.clone()];
                for ((sum, &value), &weight) in sums.iter_mut().zip(line).zip(weights) {
                    *sum += row_weight * weight * value;
                }
            }
        }
    }
}

/// Checks the side of a tile: a multiple of `multiple`, as the network would pad each tile to one
/// ([`UNet3PlusConfig::size_multiple`](crate::UNet3PlusConfig::size_multiple)).
///
/// # Errors
/// Where it is none, or 0; the error names the nearest ones.
pub fn check_tile(side: usize, multiple: usize) -> Result<()> {
    if side > 0 && side.is_multiple_of(multiple) {
        return Ok(());
    }
    let below = side / multiple * multiple;
    let nearest = match (below, below.checked_add(multiple)) {
        (0, _) => multiple.to_string(),
        (_, Some(above)) => format!("{below} or {above}"),
        (_, None) => below.to_string(),
    };
    Err(Error::Input(format!("a tile of {side}: its side must be a multiple of {multiple}; use {nearest}")))
}

/// The presence logits with the larger margin of present over absent.
fn more_present(a: [f32; 2], b: [f32; 2]) -> [f32; 2] {
    if b[1] - b[0] > a[1] - a[0] { b } else { a }
}

/// The tiles along one side of an image.
#[derive(Debug, Clone)]
struct Axis {
    side: usize,
    tile: usize,
    starts: Vec<usize>,
    /// For each start, the weights of the tile's pixels: over all tiles they add up to 1 at every pixel.
    weights: Vec<Vec<f32>>,
}

impl Axis {
    fn new(side: usize, tile: usize, overlap: f64) -> Self {
        let tile = tile.min(side);
        let starts = starts(side, tile, overlap);
        let window = window(tile);
        let mut sums = vec![0.0; side];
        for &start in &starts {
            sums[start..].iter_mut().zip(&window).for_each(|(sum, weight)| *sum += weight);
        }
        let weights = |&start: &usize| {
            let shares = window.iter().zip(&sums[start..]).map(|(weight, sum)| (weight / sum) as f32);
            shares.collect()
        };
        Self { side, tile, weights: starts.iter().map(weights).collect(), starts }
    }

    fn range(&self, tile: usize) -> Range<usize> {
        self.starts[tile]..self.starts[tile] + self.tile
    }
}

/// Where tiles begin along a side at least as long: as few as overlap enough, from 0 to `side - tile`.
fn starts(side: usize, tile: usize, overlap: f64) -> Vec<usize> {
    let last = side - tile;
    let step = ((tile as f64 * (1.0 - overlap)) as usize).max(1);
    let gaps = last.div_ceil(step);
    // to the nearest pixel
    (0..=gaps).map(|i| (2 * i * last + gaps).checked_div(2 * gaps).unwrap_or(0)).collect()
}

/// exp(-(i - c)^2 / 2 s^2) about the centre c = (tile - 1) / 2 with s = tile / 8: at least exp(-8), so that no pixel is
/// without weight.
fn window(tile: usize) -> Vec<f64> {
    let (center, deviation) = ((tile as f64 - 1.0) / 2.0, tile as f64 / 8.0);
    (0..tile).map(|i| (-((i as f64 - center) / deviation).powi(2) / 2.0).exp()).collect()
}

#[cfg(test)]
mod tests;
