//! What became of a case.

use super::cases::Case;
use super::score::Scored;

/// What became of a case.
#[derive(Debug)]
pub(super) struct Outcome<'a> {
    pub(super) case: &'a Case,
    /// Its scores, or why it has none.
    pub(super) scored: Result<Scored, String>,
}
