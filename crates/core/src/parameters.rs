//! Named parameters: drawn from a seed or taken from tensors.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Uniform};

/// The variables of a model, sorted by name.
///
/// A layer asks [`Parameters::builder`] for what it needs and gets the variable itself, so that training and
/// the update of running statistics reach the layer. In [`Parameters::init`] a missing variable is drawn from
/// the seed and its own name: the value depends on neither the order of construction nor on what else a model
/// has. In [`Parameters::from_tensors`] a missing one is an error.
#[derive(Clone)]
pub struct Parameters {
    variables: Arc<Mutex<BTreeMap<String, Var>>>,
    origin: Origin,
    dtype: DType,
    device: Device,
}

#[derive(Clone, Copy)]
enum Origin {
    Seed(u64),
    Given,
}

impl Parameters {
    /// Parameters to be drawn from a seed: weights by He et al. (2015), normal, fan-in; biases 0.
    pub fn init(seed: u64, dtype: DType, device: &Device) -> Self {
        Self { variables: Arc::default(), origin: Origin::Seed(seed), dtype, device: device.clone() }
    }

    /// Given tensors, converted to `dtype` on `device`.
    ///
    /// # Errors
    /// Where a tensor cannot be converted.
    pub fn from_tensors(tensors: HashMap<String, Tensor>, dtype: DType, device: &Device) -> Result<Self> {
        let variable = |(name, tensor): (String, Tensor)| {
            Ok((name, Var::from_tensor(&tensor.to_dtype(dtype)?.to_device(device)?)?))
        };
        let variables = tensors.into_iter().map(variable).collect::<Result<BTreeMap<_, _>>>()?;
        let variables = Arc::new(Mutex::new(variables));
        Ok(Self { variables, origin: Origin::Given, dtype, device: device.clone() })
    }

    /// Variables that are there already: they are shared.
    pub fn from_variables(variables: Vec<(String, Var)>, dtype: DType, device: &Device) -> Self {
        let variables = Arc::new(Mutex::new(variables.into_iter().collect()));
        Self { variables, origin: Origin::Given, dtype, device: device.clone() }
    }

    /// What layers ask for their parameters.
    pub fn builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), self.dtype, self.device.clone())
    }

    /// Every variable, sorted by name.
    pub fn all(&self) -> Vec<(String, Var)> {
        self.lock().iter().map(|(name, variable)| (name.clone(), variable.clone())).collect()
    }

    /// What an optimizer updates: all but the running statistics, sorted by name.
    pub fn trainable(&self) -> Vec<(String, Var)> {
        self.all().into_iter().filter(|(name, _)| !is_buffer(name)).collect()
    }

    /// The running statistics of batch normalisation, sorted by name.
    pub fn buffers(&self) -> Vec<(String, Var)> {
        self.all().into_iter().filter(|(name, _)| is_buffer(name)).collect()
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the variables lie.
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Var>> {
        // a panic while the lock was held leaves a map that is whole: insertion is the only change
        self.variables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a tensor's name is one of a running statistic.
fn is_buffer(name: &str) -> bool {
    name.ends_with(".running_mean") || name.ends_with(".running_var")
}

impl SimpleBackend for Parameters {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut variables = self.lock();
        if let Some(variable) = variables.get(name) {
            if variable.shape() != &shape {
                let (expected, got) = (shape, variable.shape().clone());
                let msg = format!("tensor {name} has an unexpected shape");
                return Err(candle_core::Error::UnexpectedShape { msg, expected, got });
            }
            return Ok(variable.as_tensor().clone());
        }
        let Origin::Seed(seed) = self.origin else {
            return Err(candle_core::Error::CannotFindTensor { path: name.to_string() });
        };
        let variable = Var::from_tensor(&draw(seed, name, &shape, init, device)?.to_dtype(dtype)?)?;
        variables.insert(name.to_string(), variable.clone());
        Ok(variable.as_tensor().clone())
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        let variable = self.lock().get(name).cloned();
        let missing = || candle_core::Error::CannotFindTensor { path: name.to_string() };
        variable.map(|variable| variable.as_tensor().clone()).ok_or_else(missing)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }
}

/// Draws an initial value; the generator's stream is a hash of the name.
fn draw(seed: u64, name: &str, shape: &Shape, init: Init, device: &Device) -> Result<Tensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(fnv1a(name));
    let mut sample = |distribution: &dyn Fn(&mut ChaCha8Rng) -> f64| -> Result<Tensor> {
        let values: Vec<f64> = (0..shape.elem_count()).map(|_| distribution(&mut rng)).collect();
        Tensor::from_vec(values, shape.clone(), &Device::Cpu)
    };
    let normal = |mean, deviation| Normal::new(mean, deviation).map_err(candle_core::Error::wrap);
    let uniform = |low, high| Uniform::new(low, high).map_err(candle_core::Error::wrap);
    let tensor = match init {
        Init::Const(value) => Tensor::full(value, shape.clone(), &Device::Cpu)?,
        Init::Randn { mean, stdev } => {
            let normal = normal(mean, stdev)?;
            sample(&|rng| normal.sample(rng))?
        }
        Init::Uniform { lo, up } => {
            let uniform = uniform(lo, up)?;
            sample(&|rng| uniform.sample(rng))?
        }
        Init::Kaiming { dist, fan, non_linearity } => {
            let deviation = non_linearity.gain() / (fan.for_shape(shape) as f64).sqrt();
            match dist {
                candle_nn::init::NormalOrUniform::Normal => {
                    let normal = normal(0.0, deviation)?;
                    sample(&|rng| normal.sample(rng))?
                }
                candle_nn::init::NormalOrUniform::Uniform => {
                    let bound = 3f64.sqrt() * deviation;
                    let uniform = uniform(-bound, bound)?;
                    sample(&|rng| uniform.sample(rng))?
                }
            }
        }
    };
    // Metal has no f64: convert before moving
    tensor.to_dtype(DType::F32)?.to_device(device)
}

/// 64-bit FNV-1a (Fowler, Noll, Vo): a fixed hash, where the standard library's may change.
fn fnv1a(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(parameters: &Parameters, name: &str) -> Vec<f32> {
        let init = candle_nn::init::DEFAULT_KAIMING_NORMAL;
        let tensor = parameters.builder().get_with_hints((64, 16, 3, 3), name, init).unwrap();
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn values_depend_on_seed_and_name_alone() {
        let [one, two, other] = [7, 7, 8].map(|seed| Parameters::init(seed, DType::F32, &Device::Cpu));
        values(&one, "first");
        assert_eq!(values(&one, "a.weight"), values(&two, "a.weight"));
        assert_ne!(values(&one, "a.weight"), values(&one, "b.weight"));
        assert_ne!(values(&one, "a.weight"), values(&other, "a.weight"));
    }

    #[test]
    fn he_initialisation_has_the_right_spread() {
        let values = values(&Parameters::init(1, DType::F32, &Device::Cpu), "w");
        let n = values.len() as f64;
        let square: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n;
        let want = 2.0 / (16.0 * 9.0);
        // the sample variance of n normal values spreads by sqrt(2 / n); five times that
        assert!((square / want - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{square} {want}");
    }

    #[test]
    fn missing_and_misshapen_tensors_are_errors() {
        let weight = Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
        let given = HashMap::from([("w".to_string(), weight)]);
        let parameters = Parameters::from_tensors(given, DType::F32, &Device::Cpu).unwrap();
        assert!(parameters.builder().get((2, 2), "w").is_ok());
        let error = parameters.builder().get((3, 2), "w").unwrap_err().to_string();
        assert!(error.contains('w') && error.contains("[2, 2]"), "{error}");
        assert!(parameters.builder().get((2, 2), "v").unwrap_err().to_string().contains('v'));
    }
}
