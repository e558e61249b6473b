//! The bundled model on the README's CT slice: a mask that a person would accept.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::PathBuf;

use unet3p::Segmenter;
use unet3p::data::read_mask;

/// Dice with the label below which an outline is visibly wrong. The slice is one that the model was trained on, so
/// this guards the path from file to mask, not the model's worth.
const ACCEPTABLE_DICE: f64 = 0.9;

fn picture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "docs", "images", name].iter().collect()
}

#[test]
fn the_liver_is_outlined_on_a_real_slice() {
    let found = Segmenter::from_pretrained("liver-ct").unwrap().segment(picture("ct_slice.png")).unwrap();
    let label = read_mask(&picture("ct_slice_label.png")).unwrap();
    assert_eq!((found.mask.height, found.mask.width), (label.height, label.width));
    let count = |ids: &[u8]| ids.iter().filter(|&&id| id == 1).count();
    let both = found.mask.data.iter().zip(&label.data).filter(|&(&p, &r)| p == 1 && r == 1).count();
    let dice = 2.0 * both as f64 / (count(&found.mask.data) + count(&label.data)) as f64;
    assert!(dice >= ACCEPTABLE_DICE, "Dice {dice}");
    assert!(found.presence.unwrap() > 0.5, "the guide says that there is a liver");
    assert_eq!(found.classes[0].label, "liver");
}
