//! What each reader does with a file, beyond opening it: as much as a program would before it computes.

pub(crate) mod arrays;
pub(crate) mod configs;
pub(crate) mod datasets;
pub(crate) mod foreign;
pub(crate) mod hub;
pub(crate) mod images;
pub(crate) mod models;
pub(crate) mod training;
pub(crate) mod volumes;

use std::fmt::Display;

/// An error as its user sees it: a message may go wrong, too.
fn said(error: impl Display) -> String {
    error.to_string()
}

/// The text of a file, which a reader of text never sees unless it is UTF-8.
fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(said)
}
