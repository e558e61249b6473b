//! Settings: how files become the network's input, and how a network is trained.

use unet3p_data::{Preprocessor, Size, Volume};
use unet3p_train::TrainConfig;

use super::{said, utf8};
use crate::{Outcome, scratch, seeds};

/// What settings may ask for is made up to this many pixels or voxels. It is the user's wish, not the file's size, that
/// asks for more.
const LARGEST: usize = 1 << 20;

/// `preprocessor_config.json`, and an image and a volume as it wants them.
pub(crate) fn preprocessor(bytes: &[u8]) -> Outcome {
    let folder = scratch::folder("preprocessor", |folder| {
        scratch::write(&folder.join("picture.png"), &seeds::images::gray_png());
        scratch::write(&folder.join("scan.nii"), &seeds::volumes::small());
    });
    let preprocessor = Preprocessor::from_json(utf8(bytes)?).map_err(said)?;
    let again = Preprocessor::from_json(&preprocessor.to_json());
    assert!(again.is_ok_and(|again| again == preprocessor), "settings that are not read back");
    if preprocessor.size.is_some_and(|Size { height, width }| height * width > LARGEST) {
        return Ok(());
    }
    preprocessor.load_image(&folder.join("picture.png")).map_err(said)?;
    let volume = Volume::read(&folder.join("scan.nii")).map_err(said)?;
    let shape =
        preprocessor.spacing.map_or(Ok(volume.shape), |spacing| volume.shape_at(spacing)).map_err(said)?;
    if shape.iter().product::<usize>() <= LARGEST {
        let prepared = preprocessor.prepare_volume(&volume).map_err(said)?;
        prepared.slice(0).map_err(said)?;
    }
    Ok(())
}

/// The TOML of a training run.
pub(crate) fn train(bytes: &[u8]) -> Outcome {
    let config = TrainConfig::from_toml(utf8(bytes)?, &[]).map_err(said)?;
    config.split();
    // Its paths lead nowhere.
    let _ = config.dataset_options();
    let again = TrainConfig::from_toml(&config.to_toml().map_err(said)?, &[]);
    assert!(again.is_ok_and(|again| again == config), "a configuration that is not read back");
    Ok(())
}
