//! Word of how far an evaluation is.

use super::cases::Case;
use super::outcome::Outcome;

/// Who wants to know how far an evaluation is; `()` does not.
pub trait Progress: Sync {
    /// A case is looked at.
    fn begins(&self, _case: &Case) {}

    /// The model has done so many slices of the case's volume, of so many.
    fn slices(&self, _done: usize, _all: usize) {}

    /// A case has its scores, or none.
    fn ends(&self, _outcome: &Outcome<'_>) {}
}

impl Progress for () {}
