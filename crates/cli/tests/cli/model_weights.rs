//! Weights and predictions that are no numbers.

use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::support::{Place, Run};

/// Gives the tensor `name` of a safetensors file one value everywhere; the file's metadata stays.
fn fill(path: &Path, name: &str, value: f32) {
    let mut bytes = fs::read(path).unwrap();
    let (length, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let (from, to) = metadata.tensors()[name].data_offsets;
    let data = &mut bytes[8 + length..][from..to];
    match metadata.tensors()[name].dtype {
        safetensors::Dtype::F32 => {
            data.chunks_exact_mut(4).for_each(|v| v.copy_from_slice(&value.to_le_bytes()))
        }
        // The sign, all exponent bits and no mantissa: infinite in f16.
        _ => data.chunks_exact_mut(2).for_each(|v| v.copy_from_slice(&0x7c00u16.to_le_bytes())),
    }
    fs::write(path, bytes).unwrap();
}

const WEIGHTS: &str = "m/model.safetensors";

#[test]
fn weights_that_are_no_numbers_are_refused_wherever_they_are_read() {
    let place = Place::new();
    place.gray("slices/images/a.png", 16, 16);
    place.mask("slices/masks/a.png", &["0011001100110011"; 16]);
    place.write(
        "train.toml",
        "[data]\npaths = [\"slices\"]\n[model]\nin_channels = 1\nfilters = [4, 8, 16, 32, 64]\n[train]\nsteps = 1\n",
    );
    for (tensor, value, what) in [
        ("head.1.bias", f32::NAN, "1 of its 1 values is NaN"),
        ("decoder.1.fuse.conv.weight", f32::INFINITY, "are infinite"),
        ("encoder.1.bn1.weight", f32::NEG_INFINITY, "are infinite"),
        ("encoder.5.bn2.running_var", -1e-3, "are a variance below 0"),
        ("encoder.5.bn2.running_var", f32::NAN, "are NaN"),
    ] {
        place.model();
        fill(&place.path(WEIGHTS), tensor, value);
        let refused = |run: Run, file: &str| {
            run.ends(1, &[file, tensor, what]);
            assert!(!place.path("out").exists() && !place.path("n").exists());
        };
        for line in ["info m", "predict -i slices/images/a.png -o out -m m", "export m -o out"] {
            refused(place.line(line), WEIGHTS);
        }
        refused(place.line("info m/model.safetensors"), WEIGHTS);
        refused(place.line("train -c train.toml -o run --init-from m"), WEIGHTS);
        refused(place.line("convert m/model.safetensors n"), WEIGHTS);
        let _ = fs::remove_dir_all(place.path("run"));
    }
    place.model();
    place.line("convert m/model.safetensors half --format f16").ends(0, &[]);
    fill(&place.path("half/model.safetensors"), "head.1.weight", f32::INFINITY);
    place.line("info half").ends(1, &["half/model.safetensors", "head.1.weight", "infinite", "as f32"]);
    // Variances may be 0, and all else negative.
    fill(&place.path(WEIGHTS), "encoder.5.bn2.running_var", 0.0);
    fill(&place.path(WEIGHTS), "encoder.5.bn2.running_mean", -1.0);
    place.line("info m").ends(0, &[]);
}

#[test]
fn probabilities_that_are_no_numbers_are_no_background() {
    let place = Place::new();
    place.model();
    place.gray("in/a.png", 16, 16);
    place.volume("in/v.nii.gz", [16, 16, 2]);
    // Finite weights, and sums of both signs that are not.
    fill(&place.path(WEIGHTS), "encoder.1.bn1.weight", f32::MAX);
    fill(&place.path(WEIGHTS), "encoder.1.bn2.weight", f32::MAX);
    fill(&place.path(WEIGHTS), "encoder.1.bn1.bias", f32::MAX);
    place.line("info m").ends(0, &[]);
    let run = place.line("predict -i in -o out -m m");
    assert!(run.code == 1 || run.code == 3, "{run:#?}");
    run.ends(run.code, &["in/a.png", "in/v.nii.gz", "probabilities are NaN or infinite"]);
    assert!(!place.files("out").iter().any(|file| file.ends_with(".png") || file.ends_with(".nii.gz")));
    place.line("predict -i in -o out -m m --tta --tile 16 --overwrite").ends(run.code, &["in/a.png", "NaN"]);
}

#[test]
fn counts_are_no_weights() {
    let place = Place::new();
    place.model();
    let tensors = candle_core::safetensors::load(place.path(WEIGHTS), &Device::Cpu).unwrap();
    let number = |value: f64| Tensor::new(value, &Device::Cpu).unwrap();
    let mut averaged: std::collections::HashMap<_, _> =
        tensors.into_iter().map(|(name, tensor)| (format!("module._orig_mod.{name}"), tensor)).collect();
    averaged.insert("n_averaged".into(), number(3.0).to_dtype(DType::I64).unwrap());
    averaged.insert("module._orig_mod.encoder.1.bn1.num_batches_tracked".into(), number(7.0));
    for name in ["total_ops", "module._orig_mod.encoder.1.conv1.total_ops", "total_params"] {
        averaged.insert(name.into(), number(7.0).reshape(1).unwrap());
    }
    averaged.insert("module._orig_mod.step".into(), number(1.0));
    candle_core::safetensors::save(&averaged, place.path("swa.safetensors")).unwrap();
    let run = place.line("convert swa.safetensors n");
    run.ends(0, &[]);
    let said = "left out, for they are no weights: n_averaged, num_batches_tracked, step, total_ops (2 times), total_params";
    assert!(run.stdout.contains(said), "{}", run.stdout);
    // A number that a layer could have is no count.
    averaged.insert("module._orig_mod.extra.bias".into(), number(1.0).reshape(1).unwrap());
    candle_core::safetensors::save(&averaged, place.path("swa.safetensors")).unwrap();
    place.line("convert swa.safetensors k").ends(1, &["swa.safetensors", "1 left over", "extra.bias"]);
}

#[test]
fn what_is_assumed_is_said() {
    let place = Place::new();
    place.model();
    let tensors = candle_core::safetensors::load(place.path(WEIGHTS), &Device::Cpu).unwrap();
    candle_core::safetensors::save(&tensors, place.path("plain.safetensors")).unwrap();
    let run = place.line("convert plain.safetensors n");
    run.ends(0, &[]);
    for words in
        ["activation = sigmoid", "--activation", "batch_norm_eps = 0.00001", "preprocessor_config.json"]
    {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    let card = fs::read_to_string(place.path("n/README.md")).unwrap();
    assert!(card.contains("`activation`: sigmoid, because"), "{card}");
    place.write("keys.json", "\u{feff}{\"batch_norm_eps\": 0.001, \"id2label\": {\"1\": \"organ\"}}");
    let run = place.line("convert plain.safetensors n --overwrite --config keys.json --activation sigmoid");
    run.ends(0, &[]);
    assert!(!run.stdout.contains("assumed: activation"), "{}", run.stdout);
    assert!(!run.stdout.contains("assumed: batch_norm_eps"), "{}", run.stdout);
    let config = place.json("n/config.json");
    assert_eq!((&config["batch_norm_eps"], &config["id2label"]["1"]), (&0.001.into(), &"organ".into()));
    place.write("keys.json", "{\"num_classes\": 2}");
    place
        .line("convert plain.safetensors k --config keys.json")
        .ends(1, &["plain.safetensors", "head.1.weight"]);
    place.write("keys.json", "[]");
    place.line("convert plain.safetensors k --config keys.json").ends(2, &["keys.json", "no JSON object"]);
    place.line("convert plain.safetensors k --config absent.json").ends(2, &["absent.json", "no such file"]);
    // A file that describes itself leaves nothing to assume but what it never holds.
    let run = place.line("convert m/model.safetensors own");
    assert!(!run.stdout.contains("assumed"), "{}", run.stdout);
}
