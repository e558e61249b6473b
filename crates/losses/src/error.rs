//! What can go wrong.

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Error of a loss or of its configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A tensor has a shape that does not fit the others.
    #[error("{what} has shape {found:?}, expected {expected}")]
    Shape {
        /// The tensor.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// What would be right.
        expected: String,
    },
    /// A parameter of a loss is out of its range, or does not go with the activation.
    #[error("loss `{loss}`: {message}")]
    Parameter {
        /// The loss as a configuration names it.
        loss: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A label map holds an id that is no class.
    #[error("label {label} is not a class: expected 0 to {largest} or the ignored label")]
    Label {
        /// The id found.
        label: u8,
        /// The largest id allowed.
        largest: usize,
    },
    /// Deep supervision got another number of heads than it has weights.
    #[error("deep supervision has {weights} weights but the network has {heads} heads")]
    Heads {
        /// Number of weights.
        weights: usize,
        /// Number of heads.
        heads: usize,
    },
}

/// `Ok` if `holds`, else [`Error::Parameter`].
pub(crate) fn require(holds: bool, loss: &'static str, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Parameter { loss, message: message() }) }
}
