//! Values that are not finite never become a mask.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Tensor};
use unet3p::models::Variant;
use unet3p::{Device, Error, Image, Segmenter, UNet3Plus, UNet3PlusConfig};

const SIDE: usize = 16;

/// A network in which `name` holds `value` everywhere.
fn segmenter(variant: Variant, name: &str, value: f32) -> Segmenter {
    let config = UNet3PlusConfig::builder().variant(variant).in_channels(1).base_filters(4).build().unwrap();
    let model = UNet3Plus::init(&config, 5, DType::F32, &Device::Cpu).unwrap();
    let mut changed = 0;
    for (key, variable) in model.parameters().all() {
        if key.contains(name) {
            let values = Tensor::full(value, variable.shape(), &Device::Cpu).unwrap();
            variable.set(&values).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0, "no tensor has {name} in its name");
    Segmenter::new("test", model, None, &Device::Cpu).unwrap()
}

fn image(value: f32) -> Image {
    let data = (0..SIDE * SIDE).map(|i| if i == 77 { value } else { (i % 9) as f32 / 4.0 - 1.0 }).collect();
    Image::new(1, SIDE, SIDE, data).unwrap()
}

#[test]
fn a_prediction_that_is_no_number_is_an_error() {
    for value in [f32::NAN, f32::INFINITY] {
        let segmenter = segmenter(Variant::Base, "head", value);
        let error = segmenter.segment_input(&image(0.0)).unwrap_err();
        assert!(matches!(error, Error::Network(unet3p_models::Error::Probabilities { .. })), "{error}");
    }
}

/// The guide compares presence with absence: without a number neither is more, and the mask would be empty.
#[test]
fn a_guide_that_is_no_number_is_an_error() {
    let segmenter = segmenter(Variant::DeepSupervisionCgm, "cgm", f32::NAN);
    let error = segmenter.segment_input(&image(0.0)).unwrap_err();
    assert!(matches!(error, Error::Network(unet3p_models::Error::Probabilities { .. })), "{error}");
}

#[test]
fn an_input_that_is_no_number_is_an_error() {
    let segmenter = segmenter(Variant::Base, "head", 0.5);
    assert!(segmenter.segment_input(&image(1.0)).is_ok());
    for value in [f32::NAN, f32::NEG_INFINITY] {
        let error = segmenter.segment_input(&image(value)).unwrap_err();
        assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    }
}
