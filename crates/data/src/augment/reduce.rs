//! Sums and minima of pixels, several at once: one after the other, each would wait for the one before it.

const LANES: usize = 8;
/// Values that are added in f32 before the sum goes on in f64.
const BLOCK: usize = 512;

/// The sum of `f(v)` over all values.
pub(super) fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    let block = |block: &[f32]| {
        let (whole, rest) = block.as_chunks::<LANES>();
        let mut lanes = [0f32; LANES];
        for values in whole {
            lanes.iter_mut().zip(values).for_each(|(lane, &v)| *lane += f(v));
        }
        let rest: f32 = rest.iter().map(|&v| f(v)).sum();
        f64::from(lanes.iter().sum::<f32>() + rest)
    };
    values.chunks(BLOCK).map(block).sum()
}

/// The least of all values; infinite where there is none.
pub(super) fn minimum(values: &[f32]) -> f32 {
    let (whole, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::INFINITY; LANES];
    for values in whole {
        lanes.iter_mut().zip(values).for_each(|(lane, &v)| *lane = if v < *lane { v } else { *lane });
    }
    lanes.iter().chain(rest).copied().fold(f32::INFINITY, f32::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn as_one_by_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for count in [0, 1, 7, 8, 9, 511, 512, 513, 5000] {
            let values: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
            let want: f64 = values.iter().map(|&v| f64::from(v * v)).sum();
            // rounding of at most BLOCK additions of values below 1 in f32, a block
            assert!((sum(&values, |v| v * v) - want).abs() <= 1e-6 * count as f64, "{count}");
            assert_eq!(minimum(&values), values.iter().copied().fold(f32::INFINITY, f32::min), "{count}");
        }
    }
}
