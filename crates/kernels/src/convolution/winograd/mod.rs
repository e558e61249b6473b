//! 3x3 convolution by Winograd's algorithm: input transform, one matrix product for each of the 16 or 36 positions of
//! a transformed tile, output transform with bias and ReLU; over blocks of tiles that stay in the cache.

mod forward;
mod pack;
mod planes;
mod source;
mod step;
#[cfg(test)]
mod tests;
mod tiles;
mod transform;
mod weight_gradient;

pub(crate) use forward::Winograd;
pub use forward::WinogradConv2d;
pub(crate) use planes::{PlaneSink, PlaneSource, Planes};
pub(crate) use weight_gradient::weight_gradient;

/// Outputs of a tile along one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tile {
    /// F(2x2, 3x3): 4 multiplications an output instead of 9, weights 16/9 as large.
    Two,
    /// F(4x4, 3x3): 2.25 multiplications an output instead of 9, weights 4 times as large.
    Four,
}
