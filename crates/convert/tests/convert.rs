//! What a conversion takes over, keeps and refuses.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use tempfile::TempDir;
use unet3p_convert::{ConvertOptions, Converted, Error, convert, encoder};
use unet3p_data::{Layout, Preprocessor};
use unet3p_models::{Encoder, UNet3Plus, UNet3PlusConfig};

const WEIGHTS: &str = "model.safetensors";
const OVERWRITE: ConvertOptions =
    ConvertOptions { dtype: DType::F16, overwrite: true, activation: None, config: None };

/// A model folder `source` with that many input channels, beside which there is room for others.
fn place(in_channels: usize) -> (TempDir, UNet3PlusConfig) {
    let place = tempfile::tempdir().unwrap();
    let config = UNet3PlusConfig::builder().base_filters(2).in_channels(in_channels).build().unwrap();
    let model = UNet3Plus::init(&config, 7, DType::F32, &Device::Cpu).unwrap();
    model.save(place.path().join("source"), DType::F32).unwrap();
    (place, config)
}

/// The weights of a model folder in a file that does not describe itself, but for `metadata`.
fn plain(source: &Path, file: &Path, metadata: &[(&str, &str)]) {
    let tensors = candle_core::safetensors::load(source.join(WEIGHTS), &Device::Cpu).unwrap();
    let metadata: HashMap<_, _> = metadata.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    safetensors::serialize_to_file(&tensors, Some(metadata), file).unwrap();
}

fn windowed() -> Preprocessor {
    Preprocessor::for_slices([-200.0, 250.0], Some([1.0; 3]))
}

/// The files in a folder that are about the input.
fn preprocessors(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("preprocessor")).collect();
    names.sort();
    names
}

#[test]
fn the_preprocessor_of_a_model_goes_along() {
    let (place, _) = place(3);
    let source = place.path().join("source");
    windowed().save(&source).unwrap();
    let elsewhere = place.path().join("elsewhere");
    convert(&source.join(WEIGHTS), &elsewhere, &ConvertOptions::default()).unwrap();
    assert_eq!(Preprocessor::load(&elsewhere).unwrap(), windowed());
    assert!(!fs::read_to_string(elsewhere.join("README.md")).unwrap().contains("divides by"));
    // In its own folder, as for another number format.
    convert(&source.join(WEIGHTS), &source, &OVERWRITE).unwrap();
    assert_eq!(Preprocessor::load(&source).unwrap(), windowed());
    assert_eq!(preprocessors(&source), [Preprocessor::FILE_NAME]);
    // Over the settings of another model, which stay under another name.
    let other = Preprocessor { do_normalize: true, ..Preprocessor::default() };
    other.save(&elsewhere).unwrap();
    convert(&source.join(WEIGHTS), &elsewhere, &OVERWRITE).unwrap();
    assert_eq!(Preprocessor::load(&elsewhere).unwrap(), windowed());
    let old = fs::read_to_string(elsewhere.join("preprocessor_config.json.1.old")).unwrap();
    assert_eq!(Preprocessor::from_json(&old).unwrap(), other);
}

#[test]
fn settings_that_fit_are_kept_and_others_are_not_lost() {
    let (place, _) = place(3);
    let (file, folder) = (place.path().join("plain.safetensors"), place.path().join("folder"));
    plain(&place.path().join("source"), &file, &[]);
    let convert = || convert(&file, &folder, &OVERWRITE).unwrap();
    convert();
    assert_eq!(Preprocessor::load(&folder).unwrap(), Preprocessor::default());
    assert!(fs::read_to_string(folder.join("README.md")).unwrap().contains("divides by"));
    windowed().save(&folder).unwrap();
    convert();
    assert_eq!(Preprocessor::load(&folder).unwrap(), windowed());
    assert_eq!(preprocessors(&folder), [Preprocessor::FILE_NAME]);
    // An untouched default is nobody's loss.
    Preprocessor { layout: Layout::Gray, ..Preprocessor::default() }.save(&folder).unwrap();
    convert();
    assert_eq!(preprocessors(&folder), [Preprocessor::FILE_NAME]);
    let gray = Preprocessor { layout: Layout::Gray, do_normalize: true, ..Preprocessor::default() };
    for found in [gray.to_json(), "{ half".to_string()] {
        fs::write(folder.join(Preprocessor::FILE_NAME), &found).unwrap();
        convert();
        assert_eq!(Preprocessor::load(&folder).unwrap(), Preprocessor::default());
        let last = preprocessors(&folder).pop().unwrap();
        assert_eq!(fs::read_to_string(folder.join(last)).unwrap(), found);
    }
    assert_eq!(preprocessors(&folder).len(), 3);
}

#[test]
fn every_encoder_is_converted_without_its_metadata() {
    let place = tempfile::tempdir().unwrap();
    for encoder in Encoder::ALL {
        let config = UNet3PlusConfig::builder().encoder(encoder).filters([4, 8, 8, 12, 16]).build().unwrap();
        let (source, file) = (place.path().join("source"), place.path().join("plain.safetensors"));
        UNet3Plus::init(&config, 7, DType::F32, &Device::Cpu).unwrap().save(&source, DType::F32).unwrap();
        plain(&source, &file, &[]);
        assert_eq!(Converted::read(&file, None).unwrap().model().config(), &config);
    }
}

#[test]
fn only_our_configuration_describes_a_file() {
    let (place, config) = place(1);
    let file = place.path().join("plain.safetensors");
    let read = |entry: &str| {
        plain(&place.path().join("source"), &file, &[("config", entry)]);
        Converted::read(&file, None).map(|converted| converted.model().config().clone())
    };
    for entry in ["", "lr=0.1", "[1]", "{\"lr\": 0.1}", "{\"model_type\": \"bert\"}", "{\"model_type\": 1}"] {
        assert_eq!(read(entry).unwrap(), config, "{entry}");
    }
    let ours = {
        let mut config = config;
        config.batch_norm_eps = 1e-3;
        config.to_json().unwrap()
    };
    assert_eq!(read(&ours).unwrap().batch_norm_eps, 1e-3);
    let error = read(&ours.replace("0.001", "-1.0")).unwrap_err().to_string();
    assert!(error.contains("plain.safetensors") && error.contains("batch_norm_eps"), "{error}");
    assert!(!error.contains("config.json"), "{error}");
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let (place, _) = place(1);
    let (source, file) = (place.path().join("source"), place.path().join("plain.safetensors"));
    let whole = candle_core::safetensors::load(source.join(WEIGHTS), &Device::Cpu).unwrap();
    let names = [
        "decoder.1.fuse.bn.bias",
        "decoder.2.fuse.bn.bias",
        "encoder.1.bn1.running_var",
        "encoder.1.conv1.weight",
        "head.1.bias",
    ];
    for (count, value) in [(1, f32::NAN), (2, f32::INFINITY), (5, f32::NEG_INFINITY)] {
        let mut tensors = whole.clone();
        for name in &names[..count] {
            let shape = tensors[*name].shape().clone();
            let mut values = vec![0.0; shape.elem_count()];
            *values.last_mut().unwrap() = value;
            tensors.insert(name.to_string(), Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
        }
        candle_core::safetensors::save(&tensors, &file).unwrap();
        let Err(error @ Error::NotFinite { .. }) = Converted::read(&file, None) else { panic!("{count}") };
        let text = error.to_string();
        assert!(text.contains("plain.safetensors") && text.contains(&format!("in {count} of")), "{text}");
        for (i, name) in names.iter().enumerate() {
            assert_eq!(text.contains(name), i < count.min(3), "{name}: {text}");
        }
    }
}

#[test]
fn what_no_encoder_starts_from_is_said() {
    let place = tempfile::tempdir().unwrap();
    let keras = place.path().join("resnet.h5");
    fs::write(&keras, [b"\x89HDF\r\n\x1a\n".as_slice(), &[0; 64]].concat()).unwrap();
    for (path, found) in
        [(keras.as_path(), "a Keras file"), (place.path(), "a folder without model.safetensors")]
    {
        let error = encoder::read(path, Encoder::Resnet34).unwrap_err();
        assert!(matches!(error, Error::NoClassifier { .. }), "{error:?}");
        let text = error.to_string();
        for word in [path.to_str().unwrap(), found, "a PyTorch state dict", "timm"] {
            assert!(text.contains(word), "no {word} in {text}");
        }
    }
}
