//! Names, defaults and bad values of configurations; targets from labels.

mod common;

use candle_core::{DType, Device, Tensor};
use common::{flat, losses};
use serde::{Deserialize, Serialize};
use unet3p_losses::{
    Activation, Classes, Error, Focal, Hybrid, HybridPreset, LabelBatch, LossConfig, Target,
};

const NAMES: [&str; 11] = [
    "focal",
    "focal_reference",
    "ssim",
    "ms_ssim",
    "iou",
    "dice",
    "tversky",
    "bce",
    "cross_entropy",
    "dice_cross_entropy",
    "hybrid",
];

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct File {
    loss: LossConfig,
}

#[test]
fn names_and_tables_round_trip() {
    for name in NAMES {
        let bare: LossConfig = serde_json::from_str(&format!("\"{name}\"")).unwrap();
        let table: LossConfig = serde_json::from_str(&format!("{{\"name\": \"{name}\"}}")).unwrap();
        assert_eq!(bare, table);
        assert!(serde_json::to_string(&bare).unwrap().starts_with(&format!("{{\"name\":\"{name}\"")));
    }
    for config in [losses(Activation::Sigmoid), losses(Activation::Softmax)].concat() {
        let file = File { loss: config };
        assert_eq!(serde_json::from_str::<File>(&serde_json::to_string(&file).unwrap()).unwrap(), file);
        assert_eq!(toml::from_str::<File>(&toml::to_string(&file).unwrap()).unwrap(), file);
    }
}

#[test]
fn toml_with_defaults() {
    let parse = |text: &str| toml::from_str::<File>(text).unwrap().loss;
    assert_eq!(parse("loss = \"focal\""), LossConfig::Focal(Focal { alpha: 0.25, gamma: 2.0 }));
    // Integers are fine where a number is meant.
    assert_eq!(
        parse("[loss]\nname = \"focal\"\ngamma = 3"),
        LossConfig::Focal(Focal { alpha: 0.25, gamma: 3.0 })
    );
    let reference = Hybrid { preset: HybridPreset::Reference, weights: [1.0; 3] };
    assert_eq!(parse("[loss]\nname = \"hybrid\"\npreset = \"reference\""), LossConfig::Hybrid(reference));
    assert_eq!(LossConfig::default(), parse("loss = \"hybrid\""));
    let LossConfig::Dice(dice) = parse("loss = { name = \"dice\", classes = \"foreground\" }") else {
        panic!()
    };
    assert_eq!(dice.classes, Classes::Foreground);
}

#[test]
fn what_is_unknown_is_named() {
    for (text, culprit) in [
        ("loss = \"dise\"", "dise"),
        ("loss = { name = \"dise\" }", "dise"),
        ("loss = { name = \"dice\", gamma = 2.0 }", "gamma"),
        ("loss = { name = \"ssim\", gamma = 2.0 }", "gamma"),
        ("loss = { name = \"hybrid\", preset = \"mine\" }", "mine"),
        ("loss = { smooth = 1.0 }", "name"),
        ("loss = 3", "the name of a loss"),
    ] {
        let error = toml::from_str::<File>(text).unwrap_err().to_string();
        assert!(error.contains(culprit), "{text}: {error}");
    }
}

#[test]
fn bad_parameters_are_errors() {
    for text in [
        r#"{"name": "focal", "alpha": 1.5}"#,
        r#"{"name": "focal", "gamma": -1}"#,
        r#"{"name": "focal_reference", "alpha": 0}"#,
        r#"{"name": "focal_reference", "gamma": -0.5}"#,
        r#"{"name": "dice", "smooth": 0}"#,
        r#"{"name": "iou", "smooth": -1}"#,
        r#"{"name": "tversky", "beta": -1}"#,
        r#"{"name": "dice_cross_entropy", "dice_weight": -1}"#,
        r#"{"name": "hybrid", "weights": [0, 0, 0]}"#,
        r#"{"name": "dice", "classes": "foreground"}"#,
        r#""cross_entropy""#,
    ] {
        let config: LossConfig = serde_json::from_str(text).unwrap();
        assert!(matches!(config.build(Activation::Sigmoid), Err(Error::Parameter { .. })), "{text}");
    }
    assert!(serde_json::from_str::<LossConfig>("\"bce\"").unwrap().build(Activation::Softmax).is_err());
}

#[test]
fn targets_from_labels() {
    let of = |ids: &[u8], activation, classes, ignored| {
        let labels = LabelBatch { ids, shape: (2, 1, 4), ignored };
        Target::from_labels(&labels, classes, activation, &Device::Cpu)
    };
    let build = |activation, classes, ignored| of(&[0, 1, 2, 255, 2, 0, 1, 1], activation, classes, ignored);
    let target = build(Activation::Sigmoid, 2, Some(255)).unwrap();
    assert_eq!(target.classes.dims(), [2, 2, 1, 4]);
    let expected = [0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0].map(f64::from);
    assert_eq!(flat(&target.classes), expected);
    let valid = target.valid.as_ref().unwrap();
    assert_eq!(valid.dims(), [2, 1, 1, 4]);
    assert_eq!(flat(valid), [1, 1, 1, 0, 1, 1, 1, 1].map(f64::from));
    let wide = target.to_dtype(DType::F64).unwrap();
    assert_eq!((target.classes.dtype(), wide.classes.dtype()), (DType::F32, DType::F64));
    assert_eq!(flat(&wide.classes), flat(&target.classes));
    assert_eq!(wide.valid.as_ref().map(Tensor::dtype), Some(DType::F64));

    let target = build(Activation::Softmax, 3, Some(255)).unwrap();
    let expected = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0].map(f64::from);
    assert_eq!(flat(&target.classes), expected);

    let error = build(Activation::Sigmoid, 2, None).unwrap_err();
    assert_eq!(error.to_string(), "label 255 is not a class: expected 0 to 2 or the ignored label");
    assert!(matches!(build(Activation::Softmax, 2, Some(255)), Err(Error::Label { label: 2, largest: 1 })));
    assert!(matches!(of(&[0; 7], Activation::Sigmoid, 1, None), Err(Error::Shape { .. })));
    assert!(of(&[0; 8], Activation::Sigmoid, 1, Some(9)).unwrap().valid.is_none());
}
