//! The Keras implementation's files, converted, predict what Keras predicts, on the CPU kernels and on Candle's operations
//! that GPUs run.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{D, DType, Device, Tensor};
use unet3p_convert::keras::{KerasError, read_weights};
use unet3p_convert::{ConvertOptions, Converted, Error, SourceKind, convert};
use unet3p_core::Backend;
use unet3p_data::{Layout, Preprocessor};
use unet3p_models::{Activation, CgmGate, Predictor, UNet3PlusConfig, Variant};
use unet3p_tests::{OUTPUT_BUDGET, device_of, relative_error};

fn golden(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "golden", file].iter().collect()
}

/// The files, with the variant, channels and classes of their networks, and the activation that is to be said.
const FILES: [(&str, Variant, usize, usize); 6] = [
    ("keras/base.hdf5", Variant::Base, 3, 2),
    ("keras/deep_supervision.hdf5", Variant::DeepSupervision, 3, 2),
    ("keras/deep_supervision_cgm.hdf5", Variant::DeepSupervisionCgm, 3, 1),
    ("keras3/base.h5", Variant::Base, 3, 3),
    ("keras3/deep_supervision.keras", Variant::DeepSupervision, 3, 2),
    ("keras3/deep_supervision_cgm.weights.h5", Variant::DeepSupervisionCgm, 1, 1),
];

fn io(file: &str, device: &Device) -> HashMap<String, Tensor> {
    let name = file.split('.').next().unwrap();
    candle_core::safetensors::load(golden(&format!("{name}_io.safetensors")), device).unwrap()
}

/// Keras has its channels last.
fn channels_first(x: &Tensor) -> Tensor {
    x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()
}

fn predicts_as_keras(file: &str, backend: Backend) {
    let converted = Converted::read(&golden(file), None).unwrap();
    let weights = converted.model().parameters().all();
    let weights = weights.into_iter().map(|(name, variable)| (name, variable.into_inner())).collect();
    let config = converted.model().config();
    let device = device_of(backend);
    let model = unet3p_models::UNet3Plus::from_tensors(config, weights, DType::F32, &device).unwrap();
    let model = model.with_backend(backend);
    let io = io(file, &device);

    let output = model.predict_all(&channels_first(&io["input"])).unwrap();
    let heads = io.keys().filter(|key| key.starts_with("eval_output_")).count();
    for index in 0..heads {
        let want = channels_first(&io[&format!("eval_output_{}", index + 1)]);
        let error = relative_error(&output.probabilities[index], &want);
        println!("{file}, {backend:?}, head {}: {error:.1e}", index + 1);
        assert!(error <= OUTPUT_BUDGET, "{file}, head {}: {error:e}", index + 1);
    }
    // The guide's decision is the larger of [absent, present].
    let decision = |presence: &Tensor| {
        let index = presence.argmax_keepdim(D::Minus1).unwrap().to_dtype(DType::F32).unwrap();
        index.to_vec2::<f32>().unwrap()
    };
    let got = output.presence.as_ref().map(decision);
    let class = io.get("cgm_class").map(|class| class.to_vec2::<f32>().unwrap());
    assert_eq!(got, class.or_else(|| io.get("cgm_probabilities").map(decision)), "{file}");
}

#[test]
fn kernels_predict_as_keras() {
    for (file, ..) in FILES {
        predicts_as_keras(file, Backend::Kernels);
    }
}

#[test]
fn candle_predicts_as_keras() {
    for (file, ..) in FILES {
        predicts_as_keras(file, Backend::Candle);
    }
}

#[test]
fn the_configuration_is_told_by_the_file() {
    for (file, variant, channels, classes) in FILES {
        let folder = tempfile::tempdir().unwrap();
        let report = convert(&golden(file), folder.path(), &ConvertOptions::default()).unwrap();
        assert_eq!((report.source, report.naming), (SourceKind::Keras, None));
        let filters = if file.starts_with("keras/") { [4, 8, 16, 32, 64] } else { [2, 3, 4, 5, 6] };
        let activation = if classes == 1 { Activation::Sigmoid } else { Activation::Softmax };
        let gate = if variant.has_cgm() { CgmGate::Logits } else { CgmGate::Probabilities };
        let wanted = UNet3PlusConfig::builder().variant(variant).in_channels(channels).num_classes(classes);
        let wanted = wanted.filters(filters).activation(activation).cgm_gate(gate);
        let wanted = wanted.batch_norm_eps(1e-3).batch_norm_momentum(0.01).build().unwrap();
        assert_eq!(report.config, wanted, "{file}");
        let layout = if channels == 1 { Layout::Gray } else { Layout::Rgb };
        let preprocessor = Preprocessor::load(folder.path()).unwrap();
        assert_eq!(preprocessor, Preprocessor { layout, ..Preprocessor::default() });
    }
}

/// Errors speak of the file's own names, and of the place in the order of creation where there is no layer.
#[test]
fn a_layer_of_another_class_is_named() {
    let mut bytes = std::fs::read(golden("keras3/deep_supervision_cgm.weights.h5")).unwrap();
    let name = b"conv2d_38";
    let places: Vec<_> = (0..bytes.len() - name.len()).filter(|&i| bytes[i..].starts_with(name)).collect();
    for at in places {
        bytes[at..at + name.len()].copy_from_slice(b"conv1d_38");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.h5");
    std::fs::write(&path, bytes).unwrap();
    match Converted::read(&path, None) {
        Err(Error::Names { cause, .. }) => {
            assert_eq!(cause.left_over, ["conv1d_38/vars/0", "conv1d_38/vars/1"]);
            let missing =
                ["kernel (head.5.weight)", "bias (head.5.bias)"].map(|s| format!("conv2d number 40: {s}"));
            assert!(missing.iter().all(|name| cause.missing.contains(name)), "{cause}");
            assert!(
                cause.misshapen.iter().any(|text| text.starts_with("conv2d_39/vars/0 is [1, 6, 3, 3]")),
                "{cause}"
            );
        }
        other => panic!("{:?}", other.err()),
    }
}

/// The description in an archive names the layers that older versions only number; here it is put around such weights.
#[test]
fn the_description_names_numbered_layers() {
    use std::io::Write;

    // The graph has the guide's convolution, 10, and head 1, 35, later than they were made.
    let layer =
        |class: &str, name: String| format!(r#"{{"class_name":"{class}","config":{{"name":"{name}"}}}}"#);
    let convolutions = (0..10)
        .chain(11..34)
        .chain([10, 34])
        .chain(36..40)
        .chain([35])
        .map(|n| layer("Conv2D", format!("conv2d_{n}")));
    let norms = (0..34).map(|n| layer("BatchNormalization", format!("batch_normalization_{n}")));
    let layers: Vec<_> = convolutions.chain(norms).collect();
    let config = format!(r#"{{"config":{{"layers":[{}]}}}}"#, layers.join(","));

    let weights = std::fs::read(golden("keras3/nameless.weights.h5")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.keras");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    for (name, data) in [("config.json", config.as_bytes()), ("model.weights.h5", &weights)] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(data).unwrap();
    }
    archive.finish().unwrap();
    let described = read_weights(&path).unwrap();
    let named = read_weights(&golden("keras3/deep_supervision_cgm.weights.h5")).unwrap();
    for (ours, theirs) in &named.names {
        let error = relative_error(&described.tensors[&described.names[ours]], &named.tensors[theirs]);
        assert_eq!(error, 0.0, "{ours}");
    }
}

/// Layers that are only numbered by the graph cannot be told apart.
#[test]
fn weights_without_names_are_refused() {
    match read_weights(&golden("keras3/nameless.weights.h5")).unwrap_err() {
        Error::Keras { path, cause: KerasError::Nameless } => assert!(path.ends_with("nameless.weights.h5")),
        other => panic!("{other}"),
    }
}
