//! Class ids on a grid.

use crate::{Error, Result};

/// A view of class ids on a regular grid, an image `[height, width]` or a volume `[slices, rows, columns]`: the last
/// axis runs fastest, as in NumPy's C order. The names of the axes do not matter, their order in memory does.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a, T> {
    ids: &'a [T],
    grid: Grid,
}

/// The shape of a label map and the distance between its samples. An image is one plane of a volume.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Grid {
    pub(crate) shape: [usize; 3],
    pub(crate) spacing: [f64; 3],
    /// Whether the first axis counts: the planes of a volume have neighbours, an image has none.
    pub(crate) volume: bool,
}

impl<'a, T> Labels<'a, T> {
    /// A view of `ids` with `shape[axis]` samples along each axis, `spacing[axis]` apart (in mm, or 1 where distances
    /// are to be counted in pixels).
    ///
    /// # Errors
    /// [`Error::Axes`] unless there are 2 or 3 axes, [`Error::Spacing`] where a distance is missing or not above 0,
    /// [`Error::Length`] where `ids` does not fill the shape.
    ///
    /// ```
    /// use unet3p_metrics::Labels;
    /// let mask = [0u8, 1, 1, 0, 0, 1];
    /// let labels = Labels::new(&mask, &[2, 3], &[0.8, 0.8])?;
    /// assert_eq!(labels.shape(), [2, 3]);
    /// assert!(Labels::new(&mask, &[2, 3], &[0.8, 0.0]).is_err());
    /// # Ok::<(), unet3p_metrics::Error>(())
    /// ```
    pub fn new(ids: &'a [T], shape: &[usize], spacing: &[f64]) -> Result<Self> {
        let (sides, volume) = match *shape {
            [height, width] => ([1, height, width], false),
            [slices, rows, columns] => ([slices, rows, columns], true),
            _ => return Err(Error::Axes(shape.len())),
        };
        let distances = match *spacing {
            [y, x] if !volume => [1.0, y, x],
            [z, y, x] if volume => [z, y, x],
            _ => [f64::NAN; 3],
        };
        if !distances.iter().all(|&distance| distance > 0.0 && distance.is_finite()) {
            return Err(Error::Spacing { shape: shape.to_vec(), spacing: spacing.to_vec() });
        }
        let needed = sides.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        if needed != Some(ids.len()) {
            return Err(Error::Length { shape: shape.to_vec(), ids: ids.len() });
        }
        Ok(Self { ids, grid: Grid { shape: sides, spacing: distances, volume } })
    }

    /// The ids, the last axis running fastest.
    pub fn ids(&self) -> &'a [T] {
        self.ids
    }

    /// Samples along each axis.
    pub fn shape(&self) -> &[usize] {
        self.grid.of_axes(&self.grid.shape)
    }

    /// Distance between samples along each axis.
    pub fn spacing(&self) -> &[f64] {
        self.grid.of_axes(&self.grid.spacing)
    }

    pub(crate) fn grid(&self) -> Grid {
        self.grid
    }

    /// # Errors
    /// [`Error::Grids`] unless `reference` has this shape and spacing.
    pub(crate) fn check_same_grid(&self, reference: &Self) -> Result<()> {
        if self.grid == reference.grid {
            return Ok(());
        }
        Err(Error::Grids {
            prediction: self.shape().to_vec(),
            prediction_spacing: self.spacing().to_vec(),
            reference: reference.shape().to_vec(),
            reference_spacing: reference.spacing().to_vec(),
        })
    }
}

impl Grid {
    fn of_axes<'b, V>(&self, values: &'b [V; 3]) -> &'b [V] {
        if self.volume { values } else { &values[1..] }
    }
}
