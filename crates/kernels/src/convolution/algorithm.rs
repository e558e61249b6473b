//! Which algorithm computes a 3x3 convolution, by a model of its cost.

use crate::convolution::winograd::Tile;
use crate::panel::SEGMENT_STEP;
use crate::simd::LANES;
use crate::sizes::total;

/// How a 3x3 convolution with stride 1 is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConvAlgorithm {
    /// As written, tap by tap: [`crate::DirectConv2d`].
    Direct,
    /// By [`crate::WinogradConv2d`].
    Winograd(Tile),
}

/// Reading a packed weight from memory, in multiply-adds of the matrix product: 100 billion of them a second against 2.5
/// billion weights, on two cores. In training also packing it.
const WEIGHT_COST: f64 = 40.0;

/// What [`ConvAlgorithm::cheapest`] weighs, in multiply-adds of the matrix product. The two uses have no transform cost in
/// common that leaves every layer the algorithm that measured fastest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvCosts {
    /// Of a value of a tile on its way through a transform.
    pub transform: f64,
    /// Of one of the direct algorithm's own multiply-adds: below 1 where its digits are worth something, as Winograd's
    /// transforms lose up to four bits.
    pub direct: f64,
}

impl ConvCosts {
    /// With weights that are packed once: measured at 64 channels and 320x320, where transforms take a third of the time.
    pub const INFERENCE: Self = Self { transform: 16.0, direct: 1.0 };
    /// With weights that are packed for each pass, measured with 16 to 1024 channels: Winograd's algorithm is taken where it
    /// costs less than three quarters of the direct one.
    pub const TRAINING: Self = Self { transform: 12.0, direct: 0.75 };
}

/// A convolution as a matrix product.
pub(crate) struct Product {
    /// Values of k for each tap, with what fills them up to whole steps.
    pub(crate) depth: f64,
    /// Columns, with what fills them up to whole blocks.
    pub(crate) columns: f64,
    /// Lanes of the input's blocks.
    pub(crate) lanes: f64,
}

impl Product {
    /// Of `blocks` blocks of input channels, of which `segment` lanes count.
    pub(crate) fn new(blocks: f64, segment: usize, outputs: usize) -> Self {
        let [depth, lanes] = [segment, LANES].map(|lanes| blocks * lanes as f64);
        Self { depth, columns: outputs.div_ceil(LANES) as f64 * LANES as f64, lanes }
    }
}

impl ConvAlgorithm {
    const ALL: [Self; 3] = [Self::Direct, Self::Winograd(Tile::Two), Self::Winograd(Tile::Four)];

    /// The cheapest for a batch of maps, `[images, height, width]`, whose channels are a concatenation of `parts`, to
    /// `outputs` channels.
    ///
    /// # Panics
    /// Where there are no parts, or one has no channels: `parts: ...`.
    ///
    /// ```
    /// use unet3p_kernels::{ConvAlgorithm, ConvCosts, Tile};
    ///
    /// let cheapest = |inputs| ConvAlgorithm::cheapest(ConvCosts::INFERENCE, &[inputs], 64, [1, 320, 320]);
    /// assert_eq!(cheapest(3), ConvAlgorithm::Direct);
    /// assert_eq!(cheapest(64), ConvAlgorithm::Winograd(Tile::Four));
    /// ```
    #[must_use]
    pub fn cheapest(costs: ConvCosts, parts: &[usize], outputs: usize, batch: [usize; 3]) -> Self {
        total(parts);
        let blocks: f64 = parts.iter().map(|part| part.div_ceil(LANES) as f64).sum();
        let longest = parts.iter().fold(0, |longest, &part| part.max(longest)).min(LANES);
        let product = Product::new(blocks, longest.next_multiple_of(SEGMENT_STEP), outputs);
        Self::choose(costs, &product, batch)
    }

    /// [`ConvAlgorithm::cheapest`] for a product; the first of equal ones has the smallest weights.
    pub(crate) fn choose(costs: ConvCosts, product: &Product, batch: [usize; 3]) -> Self {
        let cost = |algorithm: &Self| algorithm.cost(costs, product, batch);
        Self::ALL.into_iter().min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(Self::Direct)
    }

    fn cost(self, costs: ConvCosts, product: &Product, [images, height, width]: [usize; 3]) -> f64 {
        let &Product { depth, columns, lanes } = product;
        // outputs of a tile along a side, multiplications of a tile
        let (tile, values, share, transforms) = match self {
            Self::Direct => (1, 9.0, costs.direct, 0.0),
            Self::Winograd(Tile::Two) => (2, 16.0, 1.0, costs.transform),
            Self::Winograd(Tile::Four) => (4, 36.0, 1.0, costs.transform),
        };
        let [rows, cols] = [height, width].map(|side| side.div_ceil(tile) as f64);
        let weights = depth * columns;
        let tiles = images as f64 * rows * cols;
        share * values * (tiles * (weights + (lanes + columns) * transforms) + weights * WEIGHT_COST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: ConvAlgorithm = ConvAlgorithm::Winograd(Tile::Two);
    const FOUR: ConvAlgorithm = ConvAlgorithm::Winograd(Tile::Four);

    /// Parts, outputs and side of the 3x3 layers of UNet 3+ that are computed at their own size.
    fn layers(filters: usize, side: usize) -> Vec<(Vec<usize>, usize, usize)> {
        let mut found = Vec::new();
        for level in 0..5 {
            let (channels, side) = (filters << level, side >> level);
            found.push((vec![if level == 0 { 3 } else { channels / 2 }], channels, side));
            found.push((vec![channels], channels, side));
            if level < 4 {
                found.extend((0..=level).map(|finer| (vec![filters << finer], filters, side)));
                found.push((vec![filters; 5], 5 * filters, side));
            }
        }
        found
    }

    /// Every layer is computed by F(4x4, 3x3), but for these.
    fn check(costs: ConvCosts, images: usize, exceptions: &[(&[usize], usize, usize, ConvAlgorithm)]) {
        for (filters, side) in [(64, 320), (16, 512), (16, 128)] {
            for (parts, outputs, side) in layers(filters, side) {
                let given =
                    exceptions.iter().find(|&&(of, to, at, _)| (of, to, at) == (&parts[..], outputs, side));
                let want = given.map_or(FOUR, |given| given.3);
                let got = ConvAlgorithm::cheapest(costs, &parts, outputs, [images, side, side]);
                assert_eq!(got, want, "{parts:?} to {outputs} at {side}, {costs:?}");
            }
        }
    }

    #[test]
    fn the_layers_of_three_networks() {
        use ConvAlgorithm::Direct;
        check(
            ConvCosts::INFERENCE,
            1,
            &[
                (&[3], 64, 320, Direct),
                (&[512], 1024, 20, TWO),
                (&[1024], 1024, 20, TWO),
                (&[3], 16, 512, Direct),
                (&[3], 16, 128, Direct),
                (&[64], 128, 16, TWO),
                (&[128], 128, 16, TWO),
                (&[16], 16, 16, Direct),
                (&[32], 16, 16, Direct),
                (&[64], 16, 16, Direct),
                (&[128], 16, 16, Direct),
                (&[16; 5], 80, 16, TWO),
                (&[128], 256, 8, Direct),
                (&[256], 256, 8, TWO),
            ],
        );
        check(
            ConvCosts::TRAINING,
            2,
            &[
                (&[3], 64, 320, Direct),
                (&[3], 16, 512, Direct),
                (&[3], 16, 128, Direct),
                (&[16], 16, 16, Direct),
                (&[32], 16, 16, Direct),
                (&[128], 256, 8, Direct),
                (&[256], 256, 8, Direct),
            ],
        );
    }

    /// The channels as blocks and as parts are the same product.
    #[test]
    fn parts_and_blocks_cost_the_same() {
        for parts in [&[1][..], &[3], &[17], &[64; 5], &[8, 8, 20]] {
            for costs in [ConvCosts::INFERENCE, ConvCosts::TRAINING] {
                for side in [1, 4, 9, 32, 80] {
                    let inputs = crate::convolution::channels::InputBlocks::new(parts);
                    let product = Product::new(inputs.len() as f64, inputs.segment, 40);
                    let batch = [3, side, 2 * side];
                    let by_blocks = ConvAlgorithm::choose(costs, &product, batch);
                    assert_eq!(ConvAlgorithm::cheapest(costs, parts, 40, batch), by_blocks);
                }
            }
        }
    }
}
