//! The encoders' five feature maps against torchvision's and timm's, from weights that are a function of their names
//! (golden/encoders/generate.py), on the CPU kernels and on Candle's operations, which GPUs run.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use unet3p_convert::encoder::{name_in_timm, rename};
use unet3p_core::Backend;
use unet3p_models::{Encoder, UNet3Plus, UNet3PlusConfig, tensor_shapes};
use unet3p_tests::{OUTPUT_BUDGET, device_of, relative_error};

const ENCODERS: [Encoder; 4] = [Encoder::Vgg11Bn, Encoder::Resnet34, Encoder::Resnet50, Encoder::Resnet101];

/// As `uniform` in the generator: FNV-1a of the name, then splitmix64 of the index.
fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let fold = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    (0..count as u64).map(move |i| {
        let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f64 / 8_388_608.0 - 1.0
    })
}

/// As `weight` in the generator.
fn weight(name: &str, shape: &[usize]) -> Tensor {
    let scale =
        if shape.len() == 4 { (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt() } else { 1.0 };
    let value = |value: f64| match shape.len() {
        4 => value * scale,
        _ if name.ends_with("running_var") => 1.0 + 0.5 * value,
        _ if name.ends_with("weight") => 0.5 + 0.25 * value,
        _ => 0.1 * value,
    };
    let values: Vec<f32> = uniform(name, shape.iter().product()).map(|v| value(v) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The encoder's part of a checkpoint, under timm's names.
fn checkpoint(encoder: Encoder) -> BTreeMap<String, Tensor> {
    let config = UNet3PlusConfig::builder().encoder(encoder).build().unwrap();
    let named = tensor_shapes(&config).into_iter();
    named
        .filter_map(|(name, shape)| {
            let name = name_in_timm(encoder, &name)?;
            let tensor = weight(&name, &shape);
            Some((name, tensor))
        })
        .collect()
}

fn golden(encoder: Encoder) -> HashMap<String, Tensor> {
    let name = format!("{encoder}.safetensors");
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "golden", "encoders", &name].iter().collect();
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

#[test]
fn maps_equal_those_of_torchvision_and_timm() {
    for encoder in ENCODERS {
        let config = UNet3PlusConfig::builder().encoder(encoder).build().unwrap();
        let encoder_weights = rename(encoder, checkpoint(encoder)).unwrap();
        // the decoder takes no part
        let mut tensors: HashMap<String, Tensor> = tensor_shapes(&config)
            .into_iter()
            .map(|(name, shape)| (name, Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()))
            .collect();
        tensors.extend(encoder_weights);
        let golden = golden(encoder);
        for backend in [Backend::Kernels, Backend::Candle] {
            let (tensors, device) = (tensors.clone(), device_of(backend));
            let model = UNet3Plus::from_tensors(&config, tensors, DType::F32, &device).unwrap();
            let model = model.with_backend(backend);
            let maps = model.encode(&golden["input"].to_device(&device).unwrap()).unwrap();
            assert_eq!(maps.len(), 5);
            for (i, map) in (1..).zip(&maps) {
                let error = relative_error(map, &golden[&format!("map_{i}")]);
                println!("{encoder}, {backend:?}, map {i}: {error:.1e}");
                assert!(error <= OUTPUT_BUDGET, "{encoder}, {backend:?}, map {i}: {error:e}");
            }
        }
    }
}

#[test]
fn heads_are_left_out_and_what_does_not_fit_is_listed() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let mut tensors = checkpoint(Encoder::Resnet34);
    tensors.insert("fc.weight".into(), zeros(&[1000, 512]));
    tensors.insert("bn1.num_batches_tracked".into(), zeros(&[]));
    let count = rename(Encoder::Resnet34, tensors.clone()).unwrap().len();
    assert_eq!(count, tensors.len() - 2);
    tensors.insert("layer5.0.conv1.weight".into(), zeros(&[1]));
    tensors.insert("conv1.weight".into(), zeros(&[64, 1, 7, 7]));
    tensors.remove("layer4.2.bn2.bias");
    let mismatch = rename(Encoder::Resnet34, tensors).unwrap_err();
    assert_eq!(mismatch.left_over, ["layer5.0.conv1.weight"]);
    assert_eq!(mismatch.missing, ["layer4.2.bn2.bias"]);
    assert!(mismatch.misshapen[0].starts_with("conv1.weight is [64, 1, 7, 7]"), "{mismatch}");
    // a network of another depth is not taken for a shallower one
    assert!(rename(Encoder::Resnet50, checkpoint(Encoder::Resnet101)).is_err());
}
