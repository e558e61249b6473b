//! Whether a gradient replaces or adds.

/// What becomes of the values that a gradient's place holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// They are replaced, whatever they are.
    Replace,
    /// The gradient is added to them.
    Add,
}
