//! Slices as pictures: input, label and prediction.

use unet3p_data::{LabelMap, Layout, Parts, Picture, Sample, SliceDataset};

use crate::Result;

/// White columns between two pictures.
const GAP: usize = 4;

/// The slice alone, with its label, and with the prediction, beside each other; the classes have the default colours.
pub(crate) fn strip(sample: &Sample, prediction: &LabelMap, layout: Layout) -> Result<Picture> {
    let input = Picture::from_planes(&sample.image, layout)?;
    let (label, prediction) = (input.overlay(&sample.mask, &[])?, input.overlay(prediction, &[])?);
    Ok(Picture::side_by_side(&[input, label, prediction], GAP))
}

/// `count` validation slices spread over all of them, with foreground where any has some: the same in every session.
pub(crate) fn choose(dataset: &SliceDataset, parts: &Parts, count: usize) -> Vec<usize> {
    let with_foreground = parts.validation.iter().copied().filter(|&i| dataset.slices()[i].has_foreground());
    let mut slices: Vec<usize> = with_foreground.collect();
    if slices.is_empty() {
        slices.clone_from(&parts.validation);
    }
    let count = count.min(slices.len());
    // The middles of `count` equal parts.
    (0..count).map(|i| slices[(2 * i + 1) * slices.len() / (2 * count)]).collect()
}
