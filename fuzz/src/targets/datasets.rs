//! What names the images and masks of a dataset.

use std::fs;
use std::path::{Path, PathBuf};

use unet3p_data::prepare::DatasetIndex;
use unet3p_data::{DatasetOptions, SliceDataset, Source, Split};

use super::said;
use crate::{Outcome, scratch, seeds};

/// `dataset.json` of prepared slices.
pub(crate) fn index(bytes: &[u8]) -> Outcome {
    let folder =
        scratch::folder("index", |folder| fill(folder, ["images", "masks"], ["a_0", "a_1", "b_0"], ""));
    scratch::write(&folder.join(DatasetIndex::FILE_NAME), bytes);
    // What training needs of it is less than what prediction writes.
    let _ = DatasetIndex::load(&folder);
    open(folder)
}

/// `dataset.json` of nnU-Net.
pub(crate) fn nnunet(bytes: &[u8]) -> Outcome {
    let folder =
        scratch::folder("nnunet", |folder| fill(folder, ["imagesTr", "labelsTr"], ["a", "b", "c"], "_0000"));
    scratch::write(&folder.join(DatasetIndex::FILE_NAME), bytes);
    open(folder)
}

/// A CSV list of images and masks.
pub(crate) fn list(bytes: &[u8]) -> Outcome {
    let folder = scratch::folder("list", |folder| fill(folder, ["images", "masks"], ["a", "b", "c"], ""));
    let path = folder.join("list.csv");
    scratch::write(&path, bytes);
    open(path)
}

fn fill(folder: &Path, [images, masks]: [&str; 2], names: [&str; 3], channel: &str) {
    for part in [images, masks] {
        fs::create_dir(folder.join(part)).expect("a folder of the dataset");
    }
    for name in names {
        scratch::write(&folder.join(images).join(format!("{name}{channel}.png")), &seeds::images::gray_png());
        scratch::write(&folder.join(masks).join(format!("{name}.png")), &seeds::images::mask_png());
    }
}

fn open(path: PathBuf) -> Outcome {
    let source = Source::at(&path).map_err(said)?;
    source.class_names().map_err(said)?;
    let options = DatasetOptions { classes: Some(3), ..DatasetOptions::default() };
    let (dataset, findings) = SliceDataset::examine(&[path], &options, |_, _| {}).map_err(said)?;
    for index in 0..dataset.slices().len() {
        dataset.sample(index).map_err(said)?;
    }
    // One volume alone cannot be split.
    let _ = dataset.split(&Split::AsPrepared);
    let _ = dataset.split(&Split::Fraction { fraction: 0.5, seed: 1 });
    findings.problems.into_iter().next().map_or(Ok(()), |problem| Err(said(problem)))
}
