//! A base network with random weights and running statistics of noise as a model folder, for benchmarks:
//! `cargo run --release -p unet3p-models --example random_model -- ENCODER FILTERS FOLDER`.

use std::error::Error;

use candle_core::{DType, Device, Tensor};
use unet3p_models::{Encoder, UNet3Plus, UNet3PlusConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [encoder, filters, folder] = arguments.as_slice() else {
        return Err("usage: random_model ENCODER FILTERS FOLDER".into());
    };
    let encoder = Encoder::ALL.into_iter().find(|known| known.to_string() == *encoder);
    let encoder = encoder.ok_or_else(|| format!("the encoder is one of {:?}", Encoder::ALL))?;
    let config = UNet3PlusConfig::builder().encoder(encoder).base_filters(filters.parse()?).build()?;
    let model = UNet3Plus::init(&config, 0, DType::F32, &Device::Cpu)?;
    for _ in 0..3 {
        let noise = Tensor::randn(0f32, 1.0, (2, 3, 128, 128), &Device::Cpu)?;
        model.forward_train(&noise)?;
    }
    Ok(model.save(folder, DType::F32)?)
}
