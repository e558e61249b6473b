//! The `unet3p` command.
fn main() {}
