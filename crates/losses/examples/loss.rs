//! A loss alone, on logits of any network: the hybrid loss of UNet 3+, and its gradient.
//!
//! `cargo run --release -p unet3p-losses --example loss`

use candle_core::{Device, Var};
use unet3p_losses::{Activation, LabelBatch, LossConfig, Target};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (batch, height, width) = (2, 64, 64);
    let logits = Var::randn(0f32, 1.0, (batch, 1, height, width), &Device::Cpu)?;
    let ids: Vec<u8> = (0..batch * height * width).map(|i| u8::from(i % width > 20)).collect();
    let labels = LabelBatch { ids: &ids, shape: (batch, height, width), ignored: None };
    let target = Target::from_labels(&labels, 1, Activation::Sigmoid, &Device::Cpu)?;
    for name in ["hybrid", "focal", "dice_cross_entropy"] {
        let config: LossConfig = serde_json::from_str(&format!(r#"{{ "name": "{name}" }}"#))?;
        let loss = config.build(Activation::Sigmoid)?.forward(&logits, &target)?;
        let gradients = loss.backward()?;
        let gradient = gradients.get(&logits).ok_or("no gradient")?;
        let norm = gradient.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?;
        println!("{name:20} {:.4}, gradient of norm {norm:.4}", loss.to_scalar::<f32>()?);
    }
    Ok(())
}
