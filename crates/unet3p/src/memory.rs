//! How much of an image the network sees at once.

use unet3p_models::{SIZE_MULTIPLE, Tiling, UNet3PlusConfig};

use crate::{Error, Result};

/// Memory that the engine takes for each pixel of its input and each channel of its first stage, beside the weights:
/// measured 15 to 17 bytes from 1024x1024 to 2048x2048 with 16 and 64 channels (4.4 GB in all at the most), and a
/// fifth more to be safe. With a residual encoder, which has nothing at full size, it is less than half of it: measured 8
/// bytes with ResNet-34 and ResNet-101. A GPU runs the network layer by layer and takes more, but one that lacks memory
/// says so.
const BYTES_PER_PIXEL_AND_FILTER: u64 = 20;

/// Channels are stored in blocks of so many.
const BLOCK: u64 = 16;

/// What exists in strips only takes as much as so many more rows of the image, which shows where there are few.
const STRIP_ROWS: u64 = 64;

/// Memory for each pixel and class of the whole image: its probabilities, and the copy that the next step makes.
const BYTES_PER_PIXEL_AND_CLASS: u64 = 8;

/// Estimates above this are refused: 16 GiB.
const MAX_BYTES: u64 = 16 << 30;

/// Images of more pixels are predicted in tiles, unless told otherwise. Up to this area the program takes 2.7 GB with a
/// network of 64 channels in its first stage, and 0.7 GB with one of 16.
const MAX_WHOLE_AREA: u64 = 1536 * 1536;

/// The side of these tiles: the longest of 512, 768 and 1024 with which the program stays below 2 GB for an image of
/// 4096x4096 pixels and a network of 64 channels, at 1.7 GB.
const TILE: usize = 1024;

/// The tiles in which an image is predicted, with the side `tile` or one that suits the image's size: large images in
/// tiles, others whole.
///
/// Memory that the system does not have ends the whole program, so that it is estimated first.
///
/// # Errors
/// When the estimate is too high, or the image has no pixels.
pub(crate) fn tiling(
    config: &UNet3PlusConfig,
    height: usize,
    width: usize,
    tile: Option<usize>,
) -> Result<Tiling> {
    let whole = height.max(width).max(1).next_multiple_of(SIZE_MULTIPLE);
    let suited = if padded_area(height, width) > MAX_WHOLE_AREA { TILE } else { whole };
    let tiling = Tiling::new(height, width, tile.unwrap_or(suited), Tiling::OVERLAP)?;
    let (tile_height, tile_width) = tiling.tile_size();
    let network = network_bytes(config, tile_height, tile_width);
    let result = (height as u64)
        .saturating_mul(width as u64)
        .saturating_mul(BYTES_PER_PIXEL_AND_CLASS)
        .saturating_mul(config.num_classes as u64);
    let bytes = network.saturating_add(result);
    if bytes <= MAX_BYTES {
        return Ok(tiling);
    }
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    Err(Error::TooLarge {
        height,
        width,
        tile_height,
        tile_width,
        needed_gib: gib(bytes),
        limit_gib: gib(MAX_BYTES),
    })
}

/// What the engine takes beside its weights, about.
fn network_bytes(config: &UNet3PlusConfig, height: usize, width: usize) -> u64 {
    let [height, width] = padded(height, width);
    (height + STRIP_ROWS)
        .saturating_mul(width)
        .saturating_mul(BYTES_PER_PIXEL_AND_FILTER)
        .saturating_mul((config.filters[0] as u64).next_multiple_of(BLOCK))
        / config.encoder.stride() as u64
}

/// The area inside the network.
fn padded_area(height: usize, width: usize) -> u64 {
    let [height, width] = padded(height, width);
    height.saturating_mul(width)
}

fn padded(height: usize, width: usize) -> [u64; 2] {
    [height, width].map(|side| side.next_multiple_of(SIZE_MULTIPLE) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(filters: usize) -> UNet3PlusConfig {
        UNet3PlusConfig::builder().base_filters(filters).build().unwrap()
    }

    #[test]
    fn large_images_are_tiled_and_others_are_not() {
        let size = |height, width, tile| tiling(&config(4), height, width, tile).unwrap().tile_size();
        assert_eq!(size(1, 1, None), (1, 1));
        assert_eq!(size(1536, 1536, None), (1536, 1536));
        assert_eq!(size(1000, 2300, None), (1000, 2300));
        assert_eq!(size(1537, 1536, None), (TILE, TILE));
        assert_eq!(size(300, 9000, None), (300, TILE));
        // One row is 16 inside the network.
        assert_eq!(size(1, 150_000, None), (1, TILE));
        assert_eq!(size(4096, 4096, Some(1024)), (1024, 1024));
        assert_eq!(size(1536, 2048, Some(2048)), (1536, 2048));
        assert_eq!(size(100, 60, Some(64)), (64, 60));
    }

    #[test]
    fn the_sizes_fit_the_memory_they_were_chosen_for() {
        let network = |side: usize| network_bytes(&config(64), side, side);
        assert!(network(TILE) < 1_500_000_000);
        assert!(network(1536) < 3_200_000_000);
        // measured without the weights' 0.26 to 0.4 GB
        assert!(network(1024) > 1_100_000_000 && network(2048) > 4_000_000_000);
        assert!(tiling(&config(64), 32768, 4096, None).is_ok());
    }

    #[test]
    fn what_needs_too_much_memory_is_refused_with_the_tile() {
        let message = |filters, height, width, tile| {
            tiling(&config(filters), height, width, tile).unwrap_err().to_string()
        };
        let whole = message(4, 7000, 8192, Some(8192));
        assert!(whole.contains("7000x8192 pixels") && whole.contains("tiles of 7000x8192"), "{whole}");
        let tiles = message(64, 4096, 4096, Some(4096));
        assert!(tiles.contains("tiles of 4096x4096 need about 20 GiB"), "{tiles}");
        // one row is sixteen inside the network, and takes strips as high as any
        assert!(tiling(&config(64), 1, 150_000, Some(150_000)).is_ok());
        assert!(tiling(&config(64), 1, 200_000, Some(200_000)).is_err());
        // The tiles fit, and the classes do not.
        let many = UNet3PlusConfig::builder().base_filters(4).num_classes(255).build().unwrap();
        assert!(tiling(&many, 8192, 8192, None).is_err());
        assert!(tiling(&config(4), 8192, 8192, None).is_ok());
        assert!(tiling(&config(4), 0, 5, None).is_err());
    }
}
