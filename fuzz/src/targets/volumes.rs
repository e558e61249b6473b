//! NIfTI volumes, as far as the network's input and back.

use unet3p_data::{
    ClassRule, Image, Nifti, Normalize, Orientation, Preprocessor, Size, Volume, VolumeWriter,
};

use super::said;
use crate::{Outcome, scratch};

/// The way back is tried for volumes of this many voxels at most: it takes time that has nothing to do with reading.
const SMALL: usize = 1 << 14;

/// `.nii`.
pub(crate) fn plain(bytes: &[u8]) -> Outcome {
    read(bytes, "scan.nii")
}

/// `.nii.gz`.
pub(crate) fn compressed(bytes: &[u8]) -> Outcome {
    read(bytes, "scan.nii.gz")
}

fn read(bytes: &[u8], name: &str) -> Outcome {
    let path = scratch::file(name, bytes);
    // The same file is refused where it holds no labels.
    let _ = Volume::read_labels(&path);
    let (volume, nifti) = Nifti::read(&path).map_err(said)?;
    Orientation::of(&volume).code();
    prepare(&volume, &nifti)
}

/// As models take volumes: at a spacing, at a size, as they are.
fn prepare(volume: &Volume, nifti: &Nifti) -> Outcome {
    let window = [-200.0, 250.0];
    let at_size =
        Preprocessor { size: Some(Size { height: 12, width: 16 }), ..Preprocessor::for_slices(window, None) };
    let as_it_is = Preprocessor { normalize: Normalize::Zscore, ..Preprocessor::default() };
    for preprocessor in [Preprocessor::for_slices(window, Some([3.0; 3])), at_size, as_it_is] {
        let prepared = preprocessor.prepare_volume(volume).map_err(said)?;
        prepared.slice(prepared.len() - 1).map_err(said)?;
        let (height, width) = prepared.size();
        if volume.data.len().max(prepared.len() * height * width) <= SMALL {
            let probabilities = vec![Image::filled(2, height, width, 0.7); prepared.len()];
            let mask = prepared.restore(&probabilities, ClassRule::Threshold(0.5)).map_err(said)?;
            let again = scratch::file("mask.nii", &[]);
            nifti.write_file(&mask, &again).map_err(said)?;
            let labels = Volume::read_labels(&again).map_err(said)?;
            assert!(labels.shape == volume.shape, "a mask has another shape than its volume");
        }
    }
    Ok(())
}
