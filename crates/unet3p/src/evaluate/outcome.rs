//! What became of a case.

use super::cases::Case;
use super::mask::CaseError;
use super::score::Scored;

/// What became of a case.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// The case.
    pub case: &'a Case,
    /// Its scores, or why it has none.
    pub scored: Result<Scored, CaseError>,
}
