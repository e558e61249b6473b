//! PNG, JPEG and TIFF, as images and as masks.

use std::fs;

use unet3p_data::{DatasetOptions, Layout, Normalize, Preprocessor, Size, SliceDataset, read_mask};

use super::said;
use crate::{Outcome, scratch, seeds};

/// An image for a network of colours and one of gray, the second at another size.
pub(crate) fn image(bytes: &[u8]) -> Outcome {
    let path = scratch::file("picture.png", bytes);
    let resized = Preprocessor {
        layout: Layout::Gray,
        normalize: Normalize::Zscore,
        size: Some(Size { height: 20, width: 24 }),
        ..Preprocessor::default()
    };
    resized.load_image(&path).map_err(said)?;
    Preprocessor::default().load_image(&path).map(|_| ()).map_err(said)
}

/// A mask by itself, and as one of a dataset.
pub(crate) fn mask(bytes: &[u8]) -> Outcome {
    let folder = scratch::folder("mask", |folder| {
        for name in ["images", "masks"] {
            fs::create_dir(folder.join(name)).expect("a folder of the dataset");
        }
        scratch::write(&folder.join("images/a.png"), &seeds::images::gray_png());
    });
    let path = folder.join("masks/a.png");
    scratch::write(&path, bytes);
    let alone = read_mask(&path).map(|_| ()).map_err(said);
    let options = DatasetOptions { classes: Some(2), ..DatasetOptions::default() };
    let dataset = SliceDataset::open(&[folder], &options).map_err(said);
    // Either way of reading may take what the other refuses.
    let together = dataset.and_then(|dataset| dataset.sample(0).map(|_| ()).map_err(said));
    alone.or(together)
}
