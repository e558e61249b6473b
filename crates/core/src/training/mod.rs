//! A training pass on blocked maps, beside Candle's graph.
//!
//! Candle's graph would keep every map in dense planes, turn each into blocks and back around every convolution, and
//! add the gradients of a map that is read several times by operations of their own. A [`Tape`] keeps the maps of a
//! pass as the kernels want them, writes each branch into its slot of a concatenation, and goes back through the pass
//! itself. What it gives is attached to Candle's graph again: the outputs are tensors from which a loss can be
//! computed, and `backward` finds the gradients of the parameters in the usual store.

mod backward;
mod graph;
mod memory;
mod tape;

pub(crate) use memory::MapMemory;
pub(crate) use tape::{LayerParameters, Map, Tape};
