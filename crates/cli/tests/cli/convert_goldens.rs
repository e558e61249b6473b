//! The original implementations' files and results, through the binary alone: `convert`, then `predict` on the
//! original's input, gives the original's probabilities.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};

use crate::support::Place;

/// Relative L2 error of head 1's probabilities, as in the library's golden tests: f32 through the whole network.
const BUDGET: f64 = 1e-5;

/// Each checkpoint; those of Keras have their arrays with the channels last.
const FILES: [&str; 9] = [
    "zju/base.pth",
    "zju/deep_supervision.pth",
    "zju/deep_supervision_cgm.pth",
    "keras/base.hdf5",
    "keras/deep_supervision.hdf5",
    "keras/deep_supervision_cgm.hdf5",
    "keras3/base.h5",
    "keras3/deep_supervision.keras",
    "keras3/deep_supervision_cgm.weights.h5",
];

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(file)
}

/// Input and probabilities of head 1, `[images, channels, height, width]`.
fn pair(file: &str) -> [Tensor; 2] {
    let io = golden(&format!("{}_io.safetensors", file.split('.').next().unwrap()));
    let io: HashMap<String, Tensor> = candle_core::safetensors::load(io, &Device::Cpu).unwrap();
    ["input", "eval_output_1"].map(|key| match file.starts_with("keras") {
        true => io[key].permute((0, 3, 1, 2)).unwrap().contiguous().unwrap(),
        false => io[key].clone(),
    })
}

fn write(path: &Path, array: &Tensor) {
    let values: Vec<f32> = array.flatten_all().unwrap().to_vec1().unwrap();
    unet3p::write_npy(path, array.dims(), &values).unwrap();
}

fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |value: f64| value * value;
    let error: f64 = got.iter().zip(want).map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    (error / want.iter().map(|&b| square(f64::from(b))).sum::<f64>()).sqrt()
}

#[test]
fn every_golden_predicts_the_same_through_the_binary() {
    for file in FILES {
        let place = Place::new();
        let [input, expected] = pair(file);
        write(&place.path("input.npy"), &input);
        place.run([Path::new("convert"), &golden(file), Path::new("m")]).ends(0, &[]);
        place.line("predict -i input.npy -o out -m m --save-probabilities").ends(0, &[]);
        for image in 0..input.dims()[0] {
            let path = place.path(&format!("out/input_{image}_probabilities.npy"));
            let (shape, got) = unet3p::read_npy(&path).unwrap();
            let want = expected.get(image).unwrap();
            assert_eq!(shape, want.dims(), "{file}");
            let want: Vec<f32> = want.flatten_all().unwrap().to_vec1().unwrap();
            let error = relative_error(&got, &want);
            assert!(error <= BUDGET, "{file}, image {image}: {error:e}");
        }
    }
}

#[test]
fn a_check_passes_or_nothing_is_written() {
    for file in ["zju/base.pth", "keras/base.hdf5", "keras3/deep_supervision_cgm.weights.h5"] {
        let place = Place::new();
        let [input, expected] = pair(file);
        write(&place.path("x.npy"), &input);
        write(&place.path("y.npy"), &expected);
        let last = expected.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
        write(&place.path("last.npy"), &last);
        write(&place.path("wrong.npy"), &(expected + 0.01).unwrap());
        let convert = |arguments: &str| {
            let source = golden(file);
            let head = ["convert", source.to_str().unwrap()];
            place.run(head.into_iter().chain(arguments.split_whitespace()))
        };
        let right = convert("m --format f16 --check x.npy y.npy");
        right.ends(0, &[]);
        assert!(right.stdout.contains("check: relative L2 error"), "{}", right.stdout);
        assert!(right.stdout.contains("stored as f16: relative L2 error"), "{}", right.stdout);
        convert("no --check x.npy wrong.npy").ends(1, &["wrong.npy", "1e-4", "nothing is written"]);
        convert("no --check last.npy y.npy").ends(1, &["last.npy", "the network takes"]);
        convert("no --check x.npy last.npy").ends(1, &["last.npy", "probabilities of head 1"]);
        convert("no --check x.npy nowhere.npy").ends(2, &["nowhere.npy"]);
        convert("no --check x.npy").ends(2, &["2 values"]);
        assert!(!place.path("no").exists(), "{file}");
    }
}

/// Neither does the file of weights alone tell, nor can the number of classes.
#[test]
fn an_activation_that_the_file_does_not_tell_must_be_said() {
    let place = Place::new();
    let bytes = std::fs::read(golden("keras3/deep_supervision.keras")).unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let mut weights = Vec::new();
    std::io::copy(&mut archive.by_name("model.weights.h5").unwrap(), &mut weights).unwrap();
    place.write("a.weights.h5", weights);
    place.line("convert a.weights.h5 m").ends(1, &["a.weights.h5", "--activation"]);
    place.line("convert a.weights.h5 m --activation softmax").ends(0, &[]);
    assert_eq!(place.json("m/config.json")["activation"], "softmax");
    assert_eq!(place.json("m/config.json")["batch_norm_eps"], 1e-3);
}

#[test]
fn bf16_weights_are_written_and_read() {
    let place = Place::new();
    let source = golden("zju/base.pth");
    let run = place.run([Path::new("convert"), &source, "m".as_ref(), "--format".as_ref(), "bf16".as_ref()]);
    run.ends(0, &[]);
    assert!(run.stdout.contains("stored as bf16"), "{}", run.stdout);
    assert!(place.line("info m").stdout.contains("bfloat16"));
    let weights = candle_core::safetensors::load(place.path("m/model.safetensors"), &Device::Cpu).unwrap();
    assert!(weights.values().all(|tensor| tensor.dtype() == DType::BF16));
}
