//! Damaged files for every reader of the workspace.
//!
//! A [`Target`] is one reader: a function that takes a file's bytes and says how the reader liked them. The binary
//! `unet3p-fuzz` feeds it mutations of the files in `corpus/` and `regressions/`; cargo-fuzz can feed it as well
//! (`libfuzzer/`). A reader may refuse what it gets, and that is all it may do: no panic, no hang, no memory beyond
//! [`memory_limit`].
#![forbid(unsafe_code)]

mod corpus;
mod mutate;
mod random;
mod scratch;
pub mod seeds;
mod target;
mod targets;

use std::alloc::System;

pub use corpus::{corpus_folder, files_of, regressions_folder};
pub use random::Random;
pub use target::{Outcome, TARGETS, Target};

/// Counts the memory of the process and refuses what exceeds the limit that is set.
#[global_allocator]
pub static MEMORY: cap::Cap<System> = cap::Cap::new(System, usize::MAX);

/// Bytes that a reader may take for a file of so many bytes.
pub fn memory_limit(file: usize) -> usize {
    (64 << 20) + 20 * file
}
