//! Another model's weights as the beginning of a run.

use std::collections::{HashMap, HashSet};

use candle_core::{Result as CandleResult, Tensor};
use unet3p_models::UNet3Plus;

use crate::{Error, Result};

/// The names that the first convolution has in the encoders; it alone depends on the number of input channels.
const FIRST: [&str; 2] = ["encoder.1.conv1.weight", "encoder.1.conv.weight"];

/// Copies the weights and statistics of `from` into `model`, where both have them. Tells what did not fit.
///
/// - Other input channels: the first convolution's kernels are averaged over the channels of `from` and spread
///   evenly, so that an image with equal channels gives what it gave before.
/// - Other classes: heads of another shape keep their initial weights.
/// - Parts that one of the two lacks (heads of deep supervision, the classification guide) keep their initial
///   weights, or are left out.
///
/// # Errors
/// [`Error::Setting`] for a network with another encoder or of other filters.
pub(crate) fn adapt(model: &UNet3Plus, from: &UNet3Plus) -> Result<Vec<String>> {
    let (own, other) = (model.config(), from.config());
    if own.encoder != other.encoder {
        let allowed = format!("the model of model.init_from has \"{}\"; use the same", other.encoder);
        return Err(Error::setting("model.encoder", own.encoder, allowed));
    }
    if own.filters != other.filters {
        let allowed = format!("the model of model.init_from has {:?}; use the same", other.filters);
        return Err(Error::setting("model.filters", format!("{:?}", own.filters), allowed));
    }
    let given: HashMap<_, _> = from.parameters().all().into_iter().collect();
    let (mut reshaped, mut missing) = (Vec::new(), Vec::new());
    for (name, variable) in model.parameters().all() {
        let Some(tensor) = given.get(&name) else {
            missing.push(name);
            continue;
        };
        let tensor = tensor.as_detached_tensor();
        if tensor.dims() == variable.dims() {
            variable.set(&tensor.to_dtype(variable.dtype())?.to_device(variable.device())?)?;
        } else if FIRST.contains(&name.as_str()) {
            variable.set(&spread_channels(&tensor, own.in_channels)?.to_device(variable.device())?)?;
        } else {
            reshaped.push(name);
        }
    }
    let mut notes = Vec::new();
    if own.in_channels != other.in_channels {
        notes.push(format!(
            "the first convolution is spread from {} input channels to {}",
            other.in_channels, own.in_channels
        ));
    }
    if !reshaped.is_empty() {
        let (was, now) = (other.num_classes, own.num_classes);
        notes.push(format!("new weights, as {now} classes follow on {was}: {}", parts(&reshaped)));
    }
    if !missing.is_empty() {
        notes.push(format!("new weights, as the given model has none: {}", parts(&missing)));
    }
    let names: HashSet<String> = model.parameters().all().into_iter().map(|(name, _)| name).collect();
    let mut left: Vec<String> = given.into_keys().filter(|name| !names.contains(name)).collect();
    left.sort();
    if !left.is_empty() {
        notes.push(format!("left out of the given model: {}", parts(&left)));
    }
    if own.batch_norm_eps != other.batch_norm_eps {
        notes.push(format!(
            "batch normalisation adds {:e} to the variance, {:e} in the given model",
            own.batch_norm_eps, other.batch_norm_eps
        ));
    }
    Ok(notes)
}

/// Copies an encoder's weights and statistics, given under our names, into `model`. Tells what did not fit: with other
/// input channels, the first convolution is spread as by [`adapt`].
///
/// # Errors
/// [`Error::Setting`] for weights of another encoder or of other filters.
pub(crate) fn adapt_encoder(model: &UNet3Plus, given: &HashMap<String, Tensor>) -> Result<Vec<String>> {
    let config = model.config();
    let mut notes = Vec::new();
    for (name, variable) in model.parameters().all() {
        if !name.starts_with("encoder.") {
            continue;
        }
        let tensor = match given.get(&name) {
            Some(tensor) if tensor.dims() == variable.dims() => tensor.clone(),
            Some(tensor) if FIRST.contains(&name.as_str()) && tensor.dims()[2..] == variable.dims()[2..] => {
                let (was, now) = (tensor.dim(1)?, config.in_channels);
                notes.push(format!("the first convolution is spread from {was} input channels to {now}"));
                spread_channels(tensor, now)?
            }
            Some(tensor) => {
                let (own, found) = (variable.dims(), tensor.dims());
                let allowed = format!("{name} is {own:?} then, and {found:?} in the weights; leave it out");
                return Err(Error::setting("model.filters", format!("{:?}", config.filters), allowed));
            }
            None => {
                let allowed = format!("the weights have no {name}");
                return Err(Error::setting("model.encoder", config.encoder, allowed));
            }
        };
        variable.set(&tensor.to_dtype(variable.dtype())?.to_device(variable.device())?)?;
    }
    Ok(notes)
}

/// Kernels `[out, channels, k, k]` for another number of channels: the mean over channels on each, scaled so that
/// equal channels give the same sum.
fn spread_channels(kernels: &Tensor, channels: usize) -> CandleResult<Tensor> {
    (kernels.sum_keepdim(1)? / channels as f64)?.repeat((1, channels, 1, 1))
}

/// The parts of a network that tensors belong to: `head.2.weight` and `head.2.bias` are `head.2`.
fn parts(names: &[String]) -> String {
    let mut parts: Vec<&str> =
        names.iter().map(|name| name.rsplit_once('.').map_or(name.as_str(), |(part, _)| part)).collect();
    parts.dedup();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use unet3p_models::{Activation, Encoder, Predictor, UNet3PlusConfig, Variant};

    fn model(variant: Variant, channels: usize, classes: usize, seed: u64) -> UNet3Plus {
        let builder = UNet3PlusConfig::builder().variant(variant).in_channels(channels).num_classes(classes);
        let builder = if classes > 1 { builder.activation(Activation::Softmax) } else { builder };
        let config = builder.base_filters(4).build().unwrap();
        UNet3Plus::init(&config, seed, DType::F32, &Device::Cpu).unwrap()
    }

    fn output(model: &UNet3Plus, x: &Tensor) -> Vec<f32> {
        model.predict(x).unwrap().probabilities.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn the_same_network_becomes_equal() {
        let (own, from) =
            (model(Variant::DeepSupervision, 3, 1, 1), model(Variant::DeepSupervision, 3, 1, 2));
        let x = Tensor::ones((1, 3, 16, 32), DType::F32, &Device::Cpu).unwrap();
        assert!(output(&own, &x) != output(&from, &x));
        assert!(adapt(&own, &from).unwrap().is_empty());
        assert!(output(&own, &x) == output(&from, &x));
    }

    #[test]
    fn equal_channels_give_the_same_whatever_their_number() {
        let from = model(Variant::Base, 3, 1, 2);
        let gray = Tensor::new(&[[[[0.5f32, -1.0], [2.0, 0.25]]]], &Device::Cpu).unwrap();
        let want = output(&from, &gray.repeat((1, 3, 8, 8)).unwrap());
        for channels in [1, 2, 5] {
            let own = model(Variant::Base, channels, 1, 1);
            let notes = adapt(&own, &from).unwrap();
            assert!(notes.len() == 1 && notes[0].contains("from 3 input channels"), "{notes:?}");
            let got = output(&own, &gray.repeat((1, channels, 8, 8)).unwrap());
            let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // Three products are summed in another order than one.
            assert!(worst < 1e-6, "{channels}: {worst:e}");
        }
    }

    #[test]
    fn an_encoder_is_taken_over_with_its_statistics() {
        let model = |channels, seed| {
            let builder = UNet3PlusConfig::builder().encoder(Encoder::Resnet34).base_filters(4);
            let config = builder.in_channels(channels).build().unwrap();
            UNet3Plus::init(&config, seed, DType::F32, &Device::Cpu).unwrap()
        };
        let from = model(3, 1);
        let x = Tensor::ones((2, 1, 32, 64), DType::F32, &Device::Cpu).unwrap();
        from.forward_train(&x.repeat((1, 3, 1, 1)).unwrap()).unwrap();
        let given = from.parameters().all().into_iter();
        let given: HashMap<_, _> = given.map(|(name, tensor)| (name, tensor.as_detached_tensor())).collect();
        for channels in [1, 3] {
            let own = model(channels, 2);
            let notes = adapt_encoder(&own, &given).unwrap();
            assert_eq!(notes.len(), usize::from(channels == 1), "{notes:?}");
            let maps =
                |model: &UNet3Plus, channels| model.encode(&x.repeat((1, channels, 1, 1)).unwrap()).unwrap();
            for (got, want) in maps(&own, channels).iter().zip(maps(&from, 3)) {
                let worst =
                    (got - want).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(worst < 1e-4, "{worst:e}");
            }
        }
        let wide = UNet3PlusConfig::builder().encoder(Encoder::Resnet34).base_filters(8).build().unwrap();
        let wide = UNet3Plus::init(&wide, 0, DType::F32, &Device::Cpu).unwrap();
        let error = adapt_encoder(&wide, &given).unwrap_err().to_string();
        assert!(error.contains("model.filters = [8, 8, 16") && error.contains("[4"), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let notes =
            adapt(&model(Variant::DeepSupervision, 3, 4, 1), &model(Variant::DeepSupervisionCgm, 3, 1, 2));
        let notes = notes.unwrap();
        assert!(notes[0].contains("4 classes follow on 1: head.1, head.2"), "{notes:?}");
        assert!(notes[1].contains("left out of the given model: cgm"), "{notes:?}");
        let notes = adapt(&model(Variant::DeepSupervision, 3, 1, 1), &model(Variant::Base, 3, 1, 2)).unwrap();
        assert!(notes[0].contains("has none: head.2, head.3"), "{notes:?}");
        let wide = UNet3PlusConfig::builder().base_filters(8).build().unwrap();
        let wide = UNet3Plus::init(&wide, 0, DType::F32, &Device::Cpu).unwrap();
        let error = adapt(&model(Variant::Base, 3, 1, 1), &wide).unwrap_err().to_string();
        assert!(error.contains("model.filters = [4, 8, 16, 32, 64]") && error.contains("[8, 16"), "{error}");
    }
}
