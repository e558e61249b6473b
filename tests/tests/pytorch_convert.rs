//! The authors' PyTorch checkpoints: read as Candle reads them, converted whole, and predicting what the authors'
//! code predicts, on the CPU kernels and on Candle's operations, which GPUs run.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use unet3p_convert::names::Naming;
use unet3p_convert::pytorch::read_state_dict;
use unet3p_convert::{ConvertOptions, ConvertReport, Converted, Error, SourceKind, compare, convert};
use unet3p_core::Backend;
use unet3p_data::{Layout, Preprocessor};
use unet3p_models::{Activation, CgmGate, Predictor, UNet3Plus, Variant};
use unet3p_tests::{OUTPUT_BUDGET, device_of, relative_error};

const NAMES: [&str; 3] = ["base", "deep_supervision", "deep_supervision_cgm"];

fn golden(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "golden", "zju", file].iter().collect()
}

fn checkpoint(name: &str) -> PathBuf {
    golden(&format!("{name}.pth"))
}

fn converted(source: &Path, folder: &Path) -> ConvertReport {
    convert(source, folder, &ConvertOptions::default()).unwrap()
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    let bytes = |tensor: &Tensor| {
        let flat = tensor.flatten_all().unwrap();
        match tensor.dtype() {
            DType::F32 => {
                flat.to_vec1::<f32>().unwrap().into_iter().map(|v| u64::from(v.to_bits())).collect::<Vec<_>>()
            }
            _ => flat.to_vec1::<i64>().unwrap().into_iter().map(|v| v as u64).collect(),
        }
    };
    a.dims() == b.dims() && a.dtype() == b.dtype() && bytes(a) == bytes(b)
}

#[test]
fn state_dicts_are_read_as_candle_reads_them() {
    for name in NAMES {
        let ours = read_state_dict(&checkpoint(name)).unwrap();
        let theirs: HashMap<_, _> =
            candle_core::pickle::read_all(checkpoint(name)).unwrap().into_iter().collect();
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (key, tensor) in &ours {
            assert!(same(tensor, &theirs[key]), "{name}: {key}");
        }
    }
}

#[test]
fn the_configuration_is_told_by_the_shapes() {
    for (name, variant, classes, gate) in [
        ("base", Variant::Base, 2, CgmGate::Probabilities),
        ("deep_supervision", Variant::DeepSupervision, 2, CgmGate::Probabilities),
        ("deep_supervision_cgm", Variant::DeepSupervisionCgm, 1, CgmGate::Logits),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let report = converted(&checkpoint(name), folder.path());
        assert_eq!((report.source, report.naming), (SourceKind::PyTorch, Some(Naming::Authors)));
        let config = UNet3Plus::load(folder.path(), &Device::Cpu).unwrap().config().clone();
        assert_eq!(config, report.config);
        assert_eq!((config.variant, config.num_classes, config.cgm_gate), (variant, classes, gate));
        assert_eq!((config.in_channels, &config.filters[..]), (3, &[4, 8, 16, 32, 64][..]));
        assert_eq!((config.activation, config.batch_norm_eps), (Activation::Sigmoid, 1e-5));
        assert_eq!(report.parameters, config.parameter_count());
        let preprocessor = Preprocessor::load(folder.path()).unwrap();
        assert_eq!(preprocessor, Preprocessor { layout: Layout::Rgb, ..Preprocessor::default() });
        assert!(folder.path().join("README.md").is_file());
    }
}

fn predicts_as_the_authors(backend: Backend) {
    for name in NAMES {
        let folder = tempfile::tempdir().unwrap();
        converted(&checkpoint(name), folder.path());
        let device = device_of(backend);
        let model = UNet3Plus::load(folder.path(), &device).unwrap().with_backend(backend);
        let io = golden(&format!("{name}_io.safetensors"));
        let io = candle_core::safetensors::load(io, &device).unwrap();
        let output = model.predict_all(&io["input"]).unwrap();
        let heads = io.keys().filter(|key| key.starts_with("eval_output_")).count();
        assert_eq!(output.probabilities.len(), heads, "{name}");
        for (index, got) in output.probabilities.iter().enumerate() {
            let error = relative_error(got, &io[&format!("eval_output_{}", index + 1)]);
            println!("{name}, {backend:?}, head {}: {error:.1e}", index + 1);
            assert!(error <= OUTPUT_BUDGET, "{name}, head {}: {error:e}", index + 1);
        }
        let alone = model.predict(&io["input"]).unwrap();
        let error = relative_error(&alone.probabilities, &io["eval_output_1"]);
        assert!(error <= OUTPUT_BUDGET, "{name}, head 1 alone: {error:e}");
        match (&output.presence, io.get("cgm_probabilities")) {
            (Some(got), Some(want)) => {
                let error = relative_error(got, want);
                assert!(error <= OUTPUT_BUDGET, "{name}, presence: {error:e}");
            }
            (got, want) => assert_eq!((got.is_some(), want.is_some()), (false, false), "{name}"),
        }
    }
}

#[test]
fn kernels_predict_as_the_authors_code() {
    predicts_as_the_authors(Backend::Kernels);
}

#[test]
fn candle_predicts_as_the_authors_code() {
    predicts_as_the_authors(Backend::Candle);
}

#[test]
fn safetensors_under_either_names_convert_to_the_same_folder() {
    let work = tempfile::tempdir().unwrap();
    let direct = work.path().join("direct");
    converted(&checkpoint("deep_supervision_cgm"), &direct);

    let authors = work.path().join("authors.bin");
    let tensors: HashMap<_, _> =
        read_state_dict(&checkpoint("deep_supervision_cgm")).unwrap().into_iter().collect();
    candle_core::safetensors::save(&tensors, &authors).unwrap();
    let native = direct.join("model.safetensors");
    for (source, naming) in [(authors, Naming::Authors), (native, Naming::Native)] {
        let folder = work.path().join(format!("{naming:?}"));
        let report = converted(&source, &folder);
        assert_eq!((report.source, report.naming), (SourceKind::Safetensors, Some(naming)));
        for file in ["config.json", "model.safetensors", "preprocessor_config.json"] {
            let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
            assert_eq!(read(&folder), read(&direct), "{naming:?}: {file}");
        }
    }
}

/// A model folder's weights keep the configuration that they were trained with, also alone.
#[test]
fn a_configuration_in_the_metadata_is_kept() {
    let work = tempfile::tempdir().unwrap();
    let config = unet3p_models::UNet3PlusConfig::builder()
        .in_channels(1)
        .num_classes(3)
        .base_filters(2)
        .activation(Activation::Softmax)
        .batch_norm_eps(1e-3)
        .build()
        .unwrap();
    let source = work.path().join("source");
    UNet3Plus::init(&config, 7, DType::F32, &Device::Cpu).unwrap().save(&source, DType::F32).unwrap();
    let folder = work.path().join("folder");
    let options = ConvertOptions { dtype: DType::F16, ..ConvertOptions::default() };
    let report = convert(&source.join("model.safetensors"), &folder, &options).unwrap();
    assert_eq!(report.config, config);
    assert_eq!(Preprocessor::load(&folder).unwrap().layout, Layout::Gray);
    let size = |folder: &Path| std::fs::metadata(folder.join("model.safetensors")).unwrap().len();
    assert!(size(&folder) < size(&source) * 3 / 4);
}

/// `DataParallel` and Lightning put something before every name.
#[test]
fn what_stands_before_all_names_is_taken_off() {
    let work = tempfile::tempdir().unwrap();
    let direct = work.path().join("direct");
    converted(&checkpoint("deep_supervision_cgm"), &direct);
    for prefix in ["module.", "model.", "net.module."] {
        let mut tensors: HashMap<_, _> = read_state_dict(&checkpoint("deep_supervision_cgm"))
            .unwrap()
            .into_iter()
            .map(|(name, tensor)| (format!("{prefix}{name}"), tensor))
            .collect();
        let source = work.path().join(format!("{prefix}safetensors"));
        candle_core::safetensors::save(&tensors, &source).unwrap();
        let folder = work.path().join(prefix);
        converted(&source, &folder);
        let weights = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
        assert_eq!(weights(&folder), weights(&direct), "{prefix}");

        // Errors speak of the file's names.
        let bias = tensors.remove(&format!("{prefix}cls.1.bias")).unwrap();
        tensors.insert("criterion.weight".into(), bias);
        candle_core::safetensors::save(&tensors, &source).unwrap();
        match Converted::read(&source, None) {
            Err(Error::Names { cause, .. }) => {
                assert_eq!(cause.missing, [format!("{prefix}cls.1.bias")]);
                assert_eq!(cause.left_over, ["criterion.weight"]);
            }
            _ => panic!("{prefix}"),
        }
    }
}

#[test]
fn what_sixteen_bits_lose_is_measured() {
    let work = tempfile::tempdir().unwrap();
    // Half of the last bit: 11 bits of f16, 8 of bf16. Weights near 0 lose more in f16, whose exponents end.
    for (dtype, most) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
        let folder = work.path().join(dtype.as_str());
        let options = ConvertOptions { dtype, ..ConvertOptions::default() };
        let rounding = convert(&checkpoint("base"), &folder, &options).unwrap().rounding.unwrap();
        assert!(rounding.relative_l2 > most / 10.0 && rounding.relative_l2 <= most, "{rounding:?}");
        assert!(rounding.largest_relative >= rounding.relative_l2, "{rounding:?}");
        let model = UNet3Plus::load(&folder, &Device::Cpu).unwrap();
        assert!(model.parameters().all().iter().any(|(name, _)| *name == rounding.tensor));
        let io = candle_core::safetensors::load(golden("base_io.safetensors"), &Device::Cpu).unwrap();
        let comparison = compare(&model, &io["input"], &io["eval_output_1"]).unwrap();
        assert!(comparison.relative_l2 > 1e-6 && comparison.relative_l2 < 0.1, "{comparison:?}");
    }
    let mut tensors: HashMap<_, _> = read_state_dict(&checkpoint("base")).unwrap().into_iter().collect();
    let large = (&tensors["outconv1.bias"] * 1e9).unwrap();
    tensors.insert("outconv1.bias".into(), large);
    let source = work.path().join("large.safetensors");
    candle_core::safetensors::save(&tensors, &source).unwrap();
    let folder = work.path().join("large");
    let options = |dtype| ConvertOptions { dtype, ..ConvertOptions::default() };
    match convert(&source, &folder, &options(DType::F16)).unwrap_err() {
        Error::Overflow { tensor, .. } => assert_eq!(tensor, "head.1.bias"),
        other => panic!("{other}"),
    }
    assert!(!folder.exists());
    convert(&source, &folder, &options(DType::BF16)).unwrap();
}

#[test]
fn a_prediction_is_compared_with_the_expected_one() {
    let converted = Converted::read(&checkpoint("base"), None).unwrap();
    let io = candle_core::safetensors::load(golden("base_io.safetensors"), &Device::Cpu).unwrap();
    let (input, expected) = (&io["input"], &io["eval_output_1"]);
    let right = compare(converted.model(), input, expected).unwrap();
    assert!(right.passes() && right.relative_l2 <= OUTPUT_BUDGET, "{right:?}");
    let wrong = Converted::read(&checkpoint("base"), Some(Activation::Softmax)).unwrap();
    assert!(!compare(wrong.model(), input, expected).unwrap().passes());

    let last = |tensor: &Tensor| tensor.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
    let refused = |input: &Tensor, expected: &Tensor| {
        compare(converted.model(), input, expected).unwrap_err().to_string()
    };
    assert!(refused(&last(input), expected).contains("numpy.moveaxis"));
    assert!(refused(input, &last(expected)).contains("numpy.moveaxis"));
    assert!(refused(&input.get(0).unwrap(), expected).contains("[images, 3, height, width]"));
    assert!(refused(input, &expected.get(0).unwrap()).contains("[2, 2, 64, 96]"));
}

#[test]
fn incomplete_checkpoints_name_every_tensor() {
    let work = tempfile::tempdir().unwrap();
    let mut tensors: HashMap<_, _> = read_state_dict(&checkpoint("base")).unwrap().into_iter().collect();
    let moved = tensors.remove("h3_Cat_hd3_bn.running_mean").unwrap();
    tensors.insert("h3_Cat_hd3_bn.mean".into(), moved);
    tensors.remove("conv1d_1.bias");
    let source = work.path().join("incomplete.safetensors");
    candle_core::safetensors::save(&tensors, &source).unwrap();
    let folder = work.path().join("model");
    match convert(&source, &folder, &ConvertOptions::default()).unwrap_err() {
        Error::Names { path, cause } => {
            assert_eq!(path, source);
            assert_eq!(cause.missing, ["conv1d_1.bias", "h3_Cat_hd3_bn.running_mean"]);
            assert_eq!(cause.left_over, ["h3_Cat_hd3_bn.mean"]);
        }
        other => panic!("{other}"),
    }
    assert!(!folder.exists(), "nothing is written for a checkpoint that does not fit");
}

#[test]
fn other_files_and_existing_folders_are_refused() {
    let work = tempfile::tempdir().unwrap();
    let folder = work.path().join("model");
    let default = ConvertOptions::default();
    let refused = |source: &Path| convert(source, &folder, &default).unwrap_err().to_string();

    let text = work.path().join("weights.pth");
    std::fs::write(&text, "these are not the weights").unwrap();
    assert!(refused(&text).contains("neither a zip archive, an HDF5 file nor a safetensors file"));
    std::fs::write(&text, "").unwrap();
    assert!(refused(&text).contains("a file of a few bytes"));
    let legacy = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    std::fs::write(&text, legacy).unwrap();
    assert!(refused(&text).contains("save it again"));
    let absent = work.path().join("absent.pth");
    assert!(refused(&absent).contains("absent.pth"));

    converted(&checkpoint("base"), &folder);
    assert!(matches!(convert(&checkpoint("base"), &folder, &default), Err(Error::DestinationExists { .. })));
    let overwrite = ConvertOptions { overwrite: true, ..default };
    convert(&checkpoint("deep_supervision"), &folder, &overwrite).unwrap();
    let config = UNet3Plus::load(&folder, &Device::Cpu).unwrap().config().clone();
    assert_eq!(config.variant, Variant::DeepSupervision);
}
