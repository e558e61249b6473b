//! NumPy's arrays.

use unet3p::{read_npy, read_npy_shape};

use super::said;
use crate::{Outcome, scratch};

/// `.npy`.
pub(crate) fn npy(bytes: &[u8]) -> Outcome {
    let path = scratch::file("array.npy", bytes);
    let shape = read_npy_shape(&path).map_err(said)?;
    let (same, values) = read_npy(&path).map_err(said)?;
    assert!(same == shape && values.len() == shape.iter().product::<usize>(), "two shapes of one array");
    Ok(())
}
