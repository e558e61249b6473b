//! The engine against the network it was compiled from.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::*;
use crate::config::{CgmGate, UNet3PlusConfigBuilder, Variant};
use crate::{Activation, Encoder, pad_to_multiple};

/// Relative L2 error allowed against the network in f64. A sum of 9 * 256 products loses about 2304^0.5 * 2^-24 = 3e-6
/// where its roundings add up like noise, and Winograd's transforms as much again; what comes from the layers before
/// is of the same size. Measured: 3e-6.
const BUDGET: f64 = 1e-5;

/// The same network in f64, which runs without Winograd.
fn in_f64(model: &UNet3Plus) -> UNet3Plus {
    let wide = |(name, variable): (String, candle_core::Var)| (name, variable.to_dtype(DType::F64).unwrap());
    let tensors = model.parameters().all().into_iter().map(wide).collect();
    UNet3Plus::from_tensors(model.config(), tensors, DType::F64, &Device::Cpu).unwrap()
}

/// A network with running statistics as training leaves them: of its own activations.
fn trained(config: &UNet3PlusConfig) -> UNet3Plus {
    let model = UNet3Plus::init(config, 3, DType::F32, &Device::Cpu).unwrap();
    for seed in 0..3 {
        model.forward_train(&noise((2, config.in_channels, 64, 32), seed)).unwrap();
    }
    model
}

fn noise(shape: (usize, usize, usize, usize), seed: u64) -> Tensor {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(100 + seed);
    let count = shape.0 * shape.1 * shape.2 * shape.3;
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(-2.0..2.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn error(got: &Tensor, want: &Tensor) -> f64 {
    assert_eq!(got.dims(), want.dims());
    let [got, want] = [got, want].map(|t| t.to_dtype(DType::F64).unwrap());
    let norm = |t: &Tensor| t.sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
    (norm(&(&got - &want).unwrap()) / norm(&want).max(f64::MIN_POSITIVE)).sqrt()
}

fn check(config: UNet3PlusConfigBuilder, sizes: &[(usize, usize, usize)]) {
    let config = config.build().unwrap();
    let model = trained(&config);
    let truth = in_f64(&model);
    for name in ["avx512", "avx2", "portable"] {
        let Some(isa) = Isa::named(name) else {
            eprintln!("skipped: this CPU has no {name}");
            continue;
        };
        let engine = model.clone().compile(CompileOptions { isa, ..Default::default() }).unwrap();
        for &(batch, height, width) in sizes {
            let x = noise((batch, config.in_channels, height, width), 9);
            let Logits { heads: want, presence } =
                truth.all_logits(&x.to_dtype(DType::F64).unwrap()).unwrap();
            let Logits { heads: got, presence: found } = engine.all_logits(&x).unwrap();
            assert_eq!(got.len(), want.len());
            for (head, (got, want)) in got.iter().zip(&want).enumerate() {
                let error = error(got, want);
                assert!(error <= BUDGET, "{isa} {config:?} {height}x{width} head {}: {error:e}", head + 1);
            }
            assert_eq!(found.is_some(), presence.is_some());
            if let (Some(found), Some(presence)) = (found, presence) {
                let error = error(&found, &presence);
                assert!(error <= BUDGET, "{isa} presence: {error:e}");
            }
        }
    }
}

#[test]
fn equals_the_network_in_every_variant() {
    let sizes = [(1, 16, 16), (2, 33, 50), (1, 128, 80)];
    check(UNet3PlusConfig::builder().base_filters(8), &sizes);
    check(
        UNet3PlusConfig::builder().base_filters(6).variant(Variant::DeepSupervision).num_classes(3),
        &sizes,
    );
    let cgm = UNet3PlusConfig::builder().base_filters(16).variant(Variant::DeepSupervisionCgm).in_channels(1);
    check(cgm.cgm_gate(CgmGate::Logits), &sizes);
    check(
        UNet3PlusConfig::builder().filters([5, 7, 12, 20, 33]).num_classes(4).activation(Activation::Softmax),
        &sizes,
    );
}

/// Other depths than the paper's five scales, and as many channels as MRI has sequences.
#[test]
fn equals_the_network_at_every_depth() {
    for filters in [vec![6, 8, 20], vec![8, 16, 24, 32], vec![4, 4, 8, 8, 16, 16]] {
        for variant in [Variant::Base, Variant::DeepSupervision, Variant::DeepSupervisionCgm] {
            let config = UNet3PlusConfig::builder().filters(filters.clone()).variant(variant).in_channels(4);
            check(config, &[(1, 32, 32), (2, 33, 70)]);
        }
    }
    let config = UNet3PlusConfig::builder().encoder(Encoder::Resnet34).filters([8, 8, 16, 32]);
    check(config.variant(Variant::DeepSupervision), &[(2, 33, 70)]);
}

#[test]
fn equals_the_network_with_every_encoder() {
    for encoder in Encoder::ALL {
        let config = UNet3PlusConfig::builder().encoder(encoder).base_filters(8);
        check(config.variant(Variant::DeepSupervision), &[(1, 32, 32), (2, 33, 70)]);
    }
}

/// Many strips: more rows than one holds, at several levels.
#[test]
fn strips_do_not_show() {
    let config = UNet3PlusConfig::builder().base_filters(8).build().unwrap();
    let model = trained(&config);
    let engine = model.clone().compile(CompileOptions::default()).unwrap();
    let x = noise((1, 3, 112, 3072), 4);
    let want = model.predict(&x).unwrap().probabilities;
    let got = engine.predict(&x).unwrap().probabilities;
    assert!(error(&got, &want) <= BUDGET, "{:e}", error(&got, &want));
}

#[test]
fn sizes_may_change_and_repeat() {
    let config = UNet3PlusConfig::builder().base_filters(4).build().unwrap();
    let engine = trained(&config).compile(CompileOptions::default()).unwrap();
    let run = |x: &Tensor| {
        engine.predict(x).unwrap().probabilities.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let (small, large) = (noise((1, 3, 20, 30), 1), noise((1, 3, 64, 48), 2));
    let first = run(&small);
    run(&large);
    assert_eq!(run(&small), first);
    // what pads the image is what pads it in the network
    let padded = engine.predict(&pad_to_multiple(&small, 16).unwrap()).unwrap().probabilities;
    let cropped = padded.narrow(2, 0, 20).unwrap().narrow(3, 0, 30).unwrap();
    assert_eq!(cropped.flatten_all().unwrap().to_vec1::<f32>().unwrap(), first);
    assert!(engine.layers().iter().any(|layer| layer.multiply_adds > 0 && layer.time > Duration::ZERO));
}

#[test]
fn what_does_not_fit_is_refused() {
    let config = UNet3PlusConfig::builder().base_filters(4).build().unwrap();
    let engine = trained(&config).compile(CompileOptions::default()).unwrap();
    let message = engine.predict(&noise((1, 2, 16, 16), 1)).unwrap_err().to_string();
    assert!(message.contains("2 channels") && message.contains('3'), "{message}");
    assert!(engine.predict(&Tensor::zeros((1, 3, 0, 4), DType::F32, &Device::Cpu).unwrap()).is_err());
}

/// A thread that waits for a part of its image takes up another image meanwhile, within the first one's pass.
#[test]
fn images_side_by_side_on_one_pool() {
    use rayon::prelude::*;
    let config = UNet3PlusConfig::builder().base_filters(4).build().unwrap();
    let engine = trained(&config).compile(CompileOptions::default()).unwrap();
    let images: Vec<Tensor> =
        (0..24).map(|seed| noise((1, 3, 48, 32 + 16 * (seed % 2)), seed as u64)).collect();
    let values = |x: &Tensor| {
        let probabilities = engine.predict(x).unwrap().probabilities;
        probabilities.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let want: Vec<Vec<f32>> = images.iter().map(values).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(6).build().unwrap();
    for _ in 0..5 {
        let got: Vec<Vec<f32>> = pool.install(|| images.par_iter().map(values).collect());
        assert!(got == want);
    }
}
