//! A network of one's own from the blocks: two scales, one full-scale skip connection, one head.
//!
//! `cargo run --release -p unet3p-core --example custom_network`

use candle_core::{DType, Device, ModuleT, Result, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use unet3p_core::ops::max_pool2d;
use unet3p_core::{Backend, ConvBlock, FullScaleSkip, SegmentationHead};

struct TwoScales {
    fine: ConvBlock,
    coarse: ConvBlock,
    skip: FullScaleSkip,
    head: SegmentationHead,
}

impl TwoScales {
    fn new(channels: usize, classes: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            fine: ConvBlock::new(channels, 8, 2, vb.pp("fine"))?,
            coarse: ConvBlock::new(8, 16, 2, vb.pp("coarse"))?,
            skip: FullScaleSkip::new(1, &[8, 16], 8, vb.pp("skip"))?,
            head: SegmentationHead::new(16, classes, 1, vb.pp("head"))?,
        })
    }
}

impl ModuleT for TwoScales {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let fine = self.fine.forward_t(x, train)?;
        let half = max_pool2d(Backend::for_device(x.device()), &fine, 2)?;
        let coarse = self.coarse.forward_t(&half, train)?;
        self.head.forward_t(&self.skip.forward_t(&[&fine, &coarse], train)?, train)
    }
}

fn main() -> Result<()> {
    let device = Device::Cpu;
    let variables = VarMap::new();
    let network = TwoScales::new(1, 1, VarBuilder::from_varmap(&variables, DType::F32, &device))?;
    let mut adam = AdamW::new(variables.all_vars(), ParamsAdamW { lr: 1e-2, ..Default::default() })?;
    let x = Tensor::randn(0f32, 1.0, (2, 1, 32, 32), &device)?;
    // the network is to find where the image is positive
    let wanted = x.gt(0.0)?.to_dtype(DType::F32)?;
    let mut values = Vec::new();
    for _ in 0..30 {
        let logits = network.forward_t(&x, true)?;
        let loss = candle_nn::loss::mse(&candle_nn::ops::sigmoid(&logits)?, &wanted)?;
        adam.backward_step(&loss)?;
        values.push(loss.to_scalar::<f32>()?);
    }
    println!("loss {:.3} -> {:.3}", values[0], values[values.len() - 1]);
    assert!(values[values.len() - 1] < 0.5 * values[0], "the loss falls");
    Ok(())
}
