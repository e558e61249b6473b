//! What makes label maps that cannot be compared.

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither an image nor a volume.
    #[error("a label map has 2 or 3 axes, not {0}")]
    Axes(usize),
    /// Not one distance for each axis, or one that is none.
    #[error(
        "the spacing {spacing:?} does not fit the shape {shape:?}: one finite distance above 0 for each axis is needed"
    )]
    Spacing {
        /// Samples along each axis.
        shape: Vec<usize>,
        /// Distances that were given.
        spacing: Vec<f64>,
    },
    /// Ids that do not fill a shape.
    #[error("a label map of shape {shape:?} cannot be made of {ids} class ids")]
    Length {
        /// Samples along each axis.
        shape: Vec<usize>,
        /// Number of ids.
        ids: usize,
    },
    /// Two label maps on different grids.
    #[error(
        "the prediction has shape {prediction:?} and spacing {prediction_spacing:?}, the reference {reference:?} and \
         {reference_spacing:?}: both must lie on one grid"
    )]
    Grids {
        /// Shape of the prediction.
        prediction: Vec<usize>,
        /// Its spacing.
        prediction_spacing: Vec<f64>,
        /// Shape of the reference.
        reference: Vec<usize>,
        /// Its spacing.
        reference_spacing: Vec<f64>,
    },
}
