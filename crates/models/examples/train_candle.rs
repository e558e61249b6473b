//! A training loop in Candle's idiom: a `VarMap`, `AdamW`, and the loss of all heads.
//!
//! `cargo run --release -p unet3p-models --example train_candle`

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use unet3p_losses::{Activation, LabelBatch, LossConfig, Target};
use unet3p_models::{Predictor, UNet3Plus, UNet3PlusConfig, Variant};

/// Images of bright discs on a dark ground, and their masks.
fn discs(batch: usize, side: usize) -> Result<(Tensor, Target)> {
    let (mut image, mut ids) = (Vec::new(), Vec::new());
    for i in 0..batch {
        let (middle, radius) = (side as f32 * (0.35 + 0.1 * i as f32), side as f32 * 0.2);
        for pixel in 0..side * side {
            let (y, x) = ((pixel / side) as f32 - middle, (pixel % side) as f32 - middle);
            let inside = x.hypot(y) < radius;
            ids.push(u8::from(inside));
            image.push(if inside { 1.0 } else { 0.2 * (pixel as f32).sin() });
        }
    }
    let image = Tensor::from_vec(image, (batch, 1, side, side), &Device::Cpu)?;
    let labels = LabelBatch { ids: &ids, shape: (batch, side, side), ignored: None };
    let target = Target::from_labels(&labels, 1, Activation::Sigmoid, &Device::Cpu);
    Ok((image, target.map_err(candle_core::Error::wrap)?))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let config = UNet3PlusConfig::builder().variant(Variant::DeepSupervision).in_channels(1).base_filters(8);
    let model = UNet3Plus::new(&config.build()?, vb)?;
    let mut adam = AdamW::new(variables.all_vars(), ParamsAdamW { lr: 3e-3, ..Default::default() })?;
    let loss = serde_json::from_str::<LossConfig>(r#"{ "name": "hybrid" }"#)?.build(Activation::Sigmoid)?;

    let (image, target) = discs(4, 64)?;
    let (mut first, mut last) = (f32::NAN, f32::NAN);
    for step in 0..20 {
        let heads = model.forward_train(&image)?.heads;
        let losses = heads.iter().map(|logits| loss.forward(logits, &target));
        let total = losses.reduce(|sum, one| Ok((sum? + one?)?)).ok_or("no heads")??;
        adam.backward_step(&total)?;
        last = total.to_scalar()?;
        if step == 0 {
            first = last;
        }
    }
    let found = model.predict(&image)?.probabilities.ge(0.5)?.to_dtype(DType::F32)?;
    let right = found.eq(&target.classes)?.to_dtype(DType::F32)?.mean_all()?.to_scalar::<f32>()?;
    println!("loss {first:.3} -> {last:.3}; {:.1} % of the pixels are right", 100.0 * right);
    assert!(last < 0.8 * first, "the loss falls");
    Ok(variables.save("target/train_candle.safetensors")?)
}
