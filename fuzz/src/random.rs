//! Choices that depend on the seed alone.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A source of choices.
pub struct Random(ChaCha8Rng);

impl Random {
    /// The choices of a seed for one target: no two targets share them.
    pub fn new(seed: u64, target: &str) -> Self {
        let mut name = flate2::Crc::new();
        name.update(target.as_bytes());
        Self(ChaCha8Rng::seed_from_u64(seed ^ u64::from(name.sum()) << 32))
    }

    /// A number below `limit`; 0 where there is none.
    pub fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { self.0.random_range(0..limit) }
    }

    /// Whether something that happens in so many of 100 cases happens.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of several, of which there is at least one.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len())]
    }

    /// How often something is done: mostly once, seldom often.
    pub(crate) fn rounds(&mut self) -> usize {
        1 + (self.bits() | 1 << 6).trailing_zeros() as usize
    }

    /// Any 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }
}
