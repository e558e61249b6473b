//! One process for each reader, so that its memory is its own and its death is seen.

mod child;
mod findings;
mod guard;
mod parent;
mod pool;

pub(crate) use child::child;
pub(crate) use parent::parent;

/// What a reader's process ends with, besides 0.
mod code {
    /// Findings were reported.
    pub(super) const FINDINGS: u8 = 1;
    /// A reader did not come back.
    pub(super) const HANG: i32 = 3;
}

/// The file that is being read, in the folder of a reader's process.
const CURRENT: &str = "current";
