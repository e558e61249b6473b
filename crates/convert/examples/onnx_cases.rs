//! Networks of every variant and encoder as ONNX files, each with an image and what the network makes of it, for
//! `scripts/check_onnx.py` to hold other runtimes to: `cargo run -p unet3p-convert --example onnx_cases -- FOLDER`.

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unet3p_convert::onnx::{OnnxOptions, export};
use unet3p_models::{Activation, CgmGate, Encoder, Predictor, UNet3Plus, UNet3PlusConfig, Variant};

fn noise(rng: &mut ChaCha8Rng, shape: [usize; 4]) -> candle_core::Result<Tensor> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-2.0..2.0)).collect();
    Tensor::from_vec(values, &shape[..], &Device::Cpu)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("usage: onnx_cases FOLDER")?.into();
    std::fs::create_dir_all(&folder)?;
    let small = || UNet3PlusConfig::builder().base_filters(8);
    let cgm = || small().variant(Variant::DeepSupervisionCgm);
    let fixed = OnnxOptions { size: Some([64, 96]), ..OnnxOptions::default() };
    let all = OnnxOptions { all_heads: true, ..OnnxOptions::default() };
    let logits = OnnxOptions { logits: true, ..all };
    let mut cases = vec![
        ("base".to_string(), small(), fixed),
        ("base_dynamic".into(), small().in_channels(1), OnnxOptions::default()),
        ("base_softmax".into(), small().num_classes(3).activation(Activation::Softmax), fixed),
        ("deep_supervision".into(), small().variant(Variant::DeepSupervision).num_classes(2), all),
        ("cgm_probabilities".into(), cgm(), all),
        ("cgm_logits".into(), cgm().cgm_gate(CgmGate::Logits), all),
        ("cgm_ungated".into(), cgm(), logits),
        ("opset_13".into(), cgm(), OnnxOptions { opset: 13, ..OnnxOptions::default() }),
        ("opset_22".into(), cgm(), OnnxOptions { opset: 22, ..OnnxOptions::default() }),
    ];
    for variant in [Variant::Base, Variant::DeepSupervision, Variant::DeepSupervisionCgm] {
        let config = UNet3PlusConfig::builder().filters([8, 16, 32, 64]).variant(variant).in_channels(4);
        cases.push((format!("four_scales_{variant}"), config, all));
    }
    for encoder in [Encoder::Vgg11Bn, Encoder::Resnet34, Encoder::Resnet50, Encoder::Resnet101] {
        let config = UNet3PlusConfig::builder().encoder(encoder).base_filters(8);
        cases.push((encoder.to_string(), config.variant(Variant::DeepSupervision), all));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (name, config, options) in cases {
        let config = config.build()?;
        let model = UNet3Plus::init(&config, 3, DType::F32, &Device::Cpu)?;
        for _ in 0..3 {
            // running statistics of its own activations, as training leaves them
            model.forward_train(&noise(&mut rng, [4, config.in_channels, 64, 64])?)?;
        }
        std::fs::write(folder.join(format!("{name}.onnx")), export(&model, &options, &[])?)?;
        let sizes = match options.size {
            Some([height, width]) => vec![[1, height, width]],
            None => vec![[2, 96, 160], [1, 32, 32], [3, 64, 352], [1, 320, 320]],
        };
        for (i, [batch, height, width]) in sizes.into_iter().enumerate() {
            let x = noise(&mut rng, [batch, config.in_channels, height, width])?;
            let tensors = with_outputs(&model, &options, x)?;
            candle_core::safetensors::save(&tensors, folder.join(format!("{name}.{i}.safetensors")))?;
        }
    }
    Ok(())
}

/// An image, and what the network makes of it under the names of the graph's outputs.
fn with_outputs(
    model: &UNet3Plus,
    options: &OnnxOptions,
    x: Tensor,
) -> Result<HashMap<String, Tensor>, Box<dyn Error>> {
    let outputs: Vec<(String, Tensor)> = if options.logits {
        let found = model.all_logits(&x)?;
        let presence = found.presence.map(|logits| ("presence_logits".to_owned(), logits));
        numbered("logits", found.heads).chain(presence).collect()
    } else {
        let found = model.predict_all(&x)?;
        let heads = if options.all_heads { found.probabilities.len() } else { 1 };
        let presence = found.presence.map(|presence| ("presence".to_owned(), presence));
        numbered("probabilities", found.probabilities).take(heads).chain(presence).collect()
    };
    Ok(outputs.into_iter().chain([("image".to_owned(), x)]).collect())
}

/// Head 1's under the name, the others' with their number.
fn numbered(name: &str, heads: Vec<Tensor>) -> impl Iterator<Item = (String, Tensor)> {
    let name = name.to_owned();
    heads.into_iter().enumerate().map(move |(i, head)| match i {
        0 => (name.clone(), head),
        i => (format!("{name}_{}", i + 1), head),
    })
}
