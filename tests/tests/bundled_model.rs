//! The bundled model on the README's CT slice: a mask that a person would accept.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::PathBuf;

use candle_core::{Device, Tensor};
use unet3p::data::read_mask;
use unet3p::{ModelSource, Segmenter};
use unet3p_models::{CompileOptions, Isa, Output, Predictor};

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
    assert_eq!(found.classes[0].label, "liver");
}

/// Probabilities closer than this to the threshold may fall on either side of it in two right computations.
const MARGIN: f32 = 1e-3;

/// The compiled layers, on every instruction set of this CPU, give the class map of the network they come from.
#[test]
fn the_engine_outlines_the_same_liver_as_the_network() {
    let source = ModelSource::resolve("liver-ct").unwrap();
    let model = source.load_model(&Device::Cpu).unwrap();
    let image =
        source.load_preprocessor().unwrap().unwrap().load_image(&picture("ct_slice.png")).unwrap().image;
    let shape = (1, image.channels, image.height, image.width);
    let x = Tensor::from_slice(&image.data, shape, &Device::Cpu).unwrap();
    let values = |output: Output| output.probabilities.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let want = values(model.predict(&x).unwrap());
    assert!(want.iter().any(|&p| p > 0.5));
    for isa in Isa::available() {
        let options = CompileOptions { isa, size: [image.height, image.width] };
        let got = values(model.clone().compile(options).unwrap().predict(&x).unwrap());
        let differ =
            want.iter().zip(&got).filter(|(w, g)| (**w > 0.5) != (**g > 0.5) && (**w - 0.5).abs() >= MARGIN);
        assert_eq!(differ.count(), 0, "{isa}");
        let norm =
            |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let error = norm(&mut want.iter().zip(&got).map(|(w, g)| w - g)) / norm(&mut want.iter().copied());
        assert!(error <= 1e-5, "{isa}: relative error {error:e}");
    }
}
