//! How much of an image the network sees at once.

use unet3p_models::{SIZE_MULTIPLE, Tiling, UNet3PlusConfig};

use crate::{Error, Result};

/// Memory that the network takes for each pixel of its input and each channel of its first stage: measured 1.5 KB
/// per pixel with 16 channels, to which it is proportional.
const BYTES_PER_PIXEL_AND_FILTER: u64 = 96;

/// Memory for each pixel and class of the whole image: its probabilities, and the copy that the next step makes.
const BYTES_PER_PIXEL_AND_CLASS: u64 = 8;

/// Estimates above this are refused: 16 GiB.
const MAX_BYTES: u64 = 16 << 30;

/// Images of more pixels are predicted in tiles, unless told otherwise. Up to this area a network with 64 channels in
/// its first stage stays below [`MAX_BYTES`], at 13.5 GiB.
const MAX_WHOLE_AREA: u64 = 1536 * 1536;

/// The side of these tiles: the longest of 512, 768 and 1024 with which that network stays below 2 GB, at 1.6 GB.
const TILE: usize = 512;

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
    let network = padded_area(tile_height, tile_width)
        .saturating_mul(BYTES_PER_PIXEL_AND_FILTER)
        .saturating_mul(config.filters[0] as u64);
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

/// The area inside the network.
fn padded_area(height: usize, width: usize) -> u64 {
    let padded = |side: usize| side.next_multiple_of(SIZE_MULTIPLE) as u64;
    padded(height).saturating_mul(padded(width))
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
        let network = |side: u64| side * side * BYTES_PER_PIXEL_AND_FILTER * 64;
        assert!(network(TILE as u64) < 2_000_000_000 && network(768) > 2_000_000_000);
        assert!(tiling(&config(64), 1536, 1536, None).is_ok());
        assert!(tiling(&config(64), 32768, 4096, None).is_ok());
    }

    #[test]
    fn what_needs_too_much_memory_is_refused_with_the_tile() {
        let message = |filters, height, width, tile| {
            tiling(&config(filters), height, width, tile).unwrap_err().to_string()
        };
        let whole = message(4, 6000, 8192, Some(8192));
        assert!(whole.contains("6000x8192 pixels") && whole.contains("tiles of 6000x8192"), "{whole}");
        let tiles = message(64, 4096, 4096, Some(2048));
        assert!(tiles.contains("tiles of 2048x2048 need about 24 GiB"), "{tiles}");
        // The tiles fit, and the classes do not.
        let many = UNet3PlusConfig::builder().base_filters(4).num_classes(255).build().unwrap();
        assert!(tiling(&many, 8192, 8192, None).is_err());
        assert!(tiling(&config(4), 8192, 8192, None).is_ok());
        assert!(tiling(&config(4), 0, 5, None).is_err());
    }
}
