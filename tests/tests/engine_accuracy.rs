//! How exact inference is on a trained network: the compiled whole, and every kernel on each of its layers, against f64.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use unet3p::ModelSource;
use unet3p_core::Backend;
use unet3p_core::ops::{conv2d, max_pool2d, upsample_bilinear2d};
use unet3p_kernels::{
    AlignedBuffer, BlockedShape, BlockedView, BlockedViewMut, DirectConv2d, HeadConv2d, Isa, LANES, Tile,
    UpsampledConv2d, WinogradConv2d,
};
use unet3p_models::{CompileOptions, Predictor, UNet3Plus, UNet3PlusConfig};
use unet3p_tests::relative_error;

/// Relative L2 error allowed in f32 against f64. A sum of 9 * 256 products loses about 2304^0.5 * 2^-24 = 3e-6 where
/// its roundings add up like noise, and Winograd's transforms as much again; a layer's own error is about as large as
/// what reaches it from those before, as sums of many values average it out. Measured: 6e-7 for a layer, 2e-7 for the
/// network.
const BUDGET: f64 = 1e-5;

/// The trained network in f64.
fn trained() -> UNet3Plus {
    let model = ModelSource::resolve("liver-ct").unwrap().load_model(&Device::Cpu).unwrap();
    with_type(model.config(), &model, DType::F64)
}

fn with_type(config: &UNet3PlusConfig, model: &UNet3Plus, dtype: DType) -> UNet3Plus {
    let tensors = model.parameters().all().into_iter();
    let tensors = tensors.map(|(name, variable)| (name, variable.to_dtype(dtype).unwrap())).collect();
    UNet3Plus::from_tensors(config, tensors, dtype, &Device::Cpu).unwrap()
}

/// A CT slice as the network sees it.
fn slice() -> Tensor {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "docs", "images", "ct_slice.png"].iter().collect();
    let preprocessor = ModelSource::resolve("liver-ct").unwrap().load_preprocessor().unwrap().unwrap();
    let image = preprocessor.load_image(&path).unwrap().image;
    let shape = (1, image.channels, image.height, image.width);
    Tensor::from_vec(image.data, shape, &Device::Cpu).unwrap()
}

/// Runs `check` on each instruction set, and says which ones this CPU does not have.
fn on_every_isa(check: impl Fn(Isa)) {
    for name in ["avx512", "avx2", "portable"] {
        match Isa::named(name) {
            Some(isa) => check(isa),
            None => eprintln!("skipped: this CPU has no {name}"),
        }
    }
}

#[test]
fn logits_of_the_trained_network() {
    let truth = trained();
    let single = with_type(truth.config(), &truth, DType::F32);
    let x = slice();
    // signed noise beyond the window's range, and a size that must be padded
    let noise = (x.narrow(2, 3, 90).unwrap().narrow(3, 5, 77).unwrap() * 37.0).unwrap().sin().unwrap();
    for x in [x, noise] {
        let want = truth.all_logits(&x.to_dtype(DType::F64).unwrap()).unwrap().heads;
        on_every_isa(|isa| {
            let engine = single.clone().compile(CompileOptions { isa, ..Default::default() }).unwrap();
            let got = engine.all_logits(&x).unwrap().heads;
            assert_eq!(got.len(), want.len());
            for (head, (got, want)) in (1..).zip(got.iter().zip(&want)) {
                let error = relative_error(got, want);
                assert!(error <= BUDGET, "{isa} {:?}, head {head}: {error:e}", x.dims());
            }
        });
    }
}

/// A layer's folded weights as the engine takes them, in f32.
struct Folded {
    weight: Tensor,
    bias: Tensor,
}

/// Walks through the network in f64, and compares each layer's kernels with it on what goes into that layer.
struct Walk {
    network: UNet3Plus,
}

impl Walk {
    fn tensor(&self, name: &str) -> Tensor {
        let all = self.network.parameters().all();
        all.into_iter().find(|(other, _)| other == name).unwrap().1.into_inner()
    }

    fn folded(&self, conv: &str, bn: &str) -> Folded {
        let [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
            .map(|part| self.tensor(&format!("{bn}.{part}")));
        let scale =
            (gamma / (variance + self.network.config().batch_norm_eps).unwrap().sqrt().unwrap()).unwrap();
        let weight = self.tensor(&format!("{conv}.weight"));
        let weight = weight.broadcast_mul(&scale.reshape(((), 1, 1, 1)).unwrap()).unwrap();
        let bias = ((self.tensor(&format!("{conv}.bias")) - mean).unwrap() * scale).unwrap();
        let [weight, bias] = [weight, (bias + beta).unwrap()].map(|t| t.to_dtype(DType::F32).unwrap());
        Folded { weight, bias }
    }

    /// Convolution, normalisation and ReLU of `parts` side by side, each upsampled by `scale`; the result rounded to
    /// f32, as the next layer gets it.
    fn layer(&self, name: &str, parts: &[&Tensor], scale: usize, folded: Folded) -> Tensor {
        let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
        let whole = Tensor::cat(parts, 1).unwrap();
        let up = upsample_bilinear2d(Backend::Kernels, &wide(&whole), scale).unwrap();
        let sums = conv2d(Backend::Kernels, &up, &wide(&folded.weight), Some(&wide(&folded.bias))).unwrap();
        let want = sums.relu().unwrap();

        let (_, outputs, height, width) = want.dims4().unwrap();
        let channels: Vec<usize> = parts.iter().map(|part| part.dim(1).unwrap()).collect();
        let [weight, bias] = [&folded.weight, &folded.bias].map(values);
        let (shape, from) = blocked(parts);
        let to = BlockedShape { channels: outputs, height, width };
        on_every_isa(|isa| {
            let check = |what: &str, run: &dyn Fn(BlockedView<'_>, BlockedViewMut<'_>)| {
                let mut buffer = AlignedBuffer::zeroed(to.elements());
                buffer.fill(f32::NAN);
                run(shape.view(&from), to.view_mut(&mut buffer));
                let mut planes = vec![f32::NAN; outputs * height * width];
                to.view(&buffer).unpack(outputs, &mut planes);
                let got = Tensor::from_vec(planes, want.shape(), &Device::Cpu).unwrap();
                let error = relative_error(&got, &want);
                assert!(error <= BUDGET, "{isa} {name} {what}: {error:e}");
            };
            let upsampled = UpsampledConv2d::new(isa, scale, &channels, &weight).with_bias(&bias).with_relu();
            check("before upsampling", &|x, y| {
                upsampled.run(x, 0..height, y, &mut upsampled.rows_for(height, width / scale));
            });
            if scale == 1 {
                for tile in [Tile::Two, Tile::Four] {
                    let layer =
                        WinogradConv2d::new(isa, tile, &channels, &weight).with_bias(&bias).with_relu();
                    check(&format!("winograd {tile:?}"), &|x, y| layer.run(x, y));
                }
                let layer = DirectConv2d::new(isa, &channels, &weight).with_bias(&bias).with_relu();
                check("direct", &|x, y| layer.run(x, y));
            }
        });
        want.to_dtype(DType::F32).unwrap()
    }

    fn head(&self, name: &str, x: &Tensor) {
        let [weight, bias] = ["weight", "bias"].map(|part| self.tensor(&format!("{name}.{part}")));
        let want = conv2d(Backend::Kernels, &x.to_dtype(DType::F64).unwrap(), &weight, Some(&bias)).unwrap();
        let (_, _, height, _) = want.dims4().unwrap();
        let (shape, from) = blocked(&[x]);
        on_every_isa(|isa| {
            let layer =
                HeadConv2d::new(isa, &[x.dim(1).unwrap()], &values(&weight)).with_bias(&values(&bias));
            let mut planes = vec![f32::NAN; want.elem_count()];
            layer.run(shape.view(&from), 0, height, &mut planes);
            let error = relative_error(&Tensor::from_vec(planes, want.shape(), &Device::Cpu).unwrap(), &want);
            assert!(error <= BUDGET, "{isa} {name}: {error:e}");
        });
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Maps side by side in blocks, each from a new block on.
fn blocked(parts: &[&Tensor]) -> (BlockedShape, AlignedBuffer) {
    let (_, _, height, width) = parts[0].dims4().unwrap();
    let blocks = |part: &Tensor| part.dim(1).unwrap().div_ceil(LANES);
    let channels = parts.iter().map(|part| blocks(part) * LANES).sum();
    let shape = BlockedShape { channels, height, width };
    let mut buffer = AlignedBuffer::zeroed(shape.elements());
    let mut first = 0;
    for part in parts {
        let slot = shape.view_mut(&mut buffer).blocks(first..first + blocks(part));
        slot.pack(part.dim(1).unwrap(), &values(part));
        first += blocks(part);
    }
    (shape, buffer)
}

#[test]
fn each_layer_of_the_trained_network() {
    let walk = Walk { network: trained() };
    let pool = |x: &Tensor, factor| max_pool2d(Backend::Kernels, x, factor).unwrap();
    let mut scales: Vec<Tensor> = Vec::new();
    for stage in 1..=5 {
        let mut x = scales.last().map_or_else(slice, |finer| pool(finer, 2));
        for i in 1..=2 {
            let (conv, bn) = (format!("encoder.{stage}.conv{i}"), format!("encoder.{stage}.bn{i}"));
            x = walk.layer(&conv, &[&x], 1, walk.folded(&conv, &bn));
        }
        scales.push(x);
    }
    for node in (1..=4).rev() {
        let part = format!("decoder.{node}");
        let branch = |(source, x): (usize, &Tensor)| {
            let name = format!("{part}.branch{source}");
            let folded = walk.folded(&format!("{name}.conv"), &format!("{name}.bn"));
            match source {
                _ if source < node => walk.layer(&name, &[&pool(x, 1 << (node - source))], 1, folded),
                _ => walk.layer(&name, &[x], 1 << (source - node), folded),
            }
        };
        let branches: Vec<Tensor> = (1..).zip(&scales).map(branch).collect();
        let branches: Vec<&Tensor> = branches.iter().collect();
        let fuse = format!("{part}.fuse");
        let folded = walk.folded(&format!("{fuse}.conv"), &format!("{fuse}.bn"));
        scales[node - 1] = walk.layer(&fuse, &branches, 1, folded);
    }
    for (head, x) in (1..).zip(&scales) {
        walk.head(&format!("head.{head}"), x);
    }
}
