//! The network on Candle tensors.

use std::collections::HashMap;

use candle_core::{DType, Device, ModuleT, Tensor};
use candle_nn::VarBuilder;
use rand_chacha::ChaCha8Rng;
use unet3p_core::graph::GraphModule;
use unet3p_core::{Backend, BatchNormOptions, Parameters};

use crate::architecture::Architecture;
use crate::config::UNet3PlusConfig;
use crate::cost::tensor_shapes;
use crate::error::{Error, Result};
use crate::padding::pad_to_multiple;
use crate::predictor::{Logits, Predictor, checked_dims};

/// UNet 3+ (Huang et al. 2020), as [`Architecture`] describes it.
///
/// It is a module of Candle: [`UNet3Plus::new`] takes its parameters from a `VarBuilder`, and `forward_t` gives the logits
/// of head 1. [`UNet3Plus::forward_train`] gives those of every head, and [`Predictor`] probabilities.
///
/// A clone shares weights and running statistics with the original: training one changes both.
///
/// ```
/// use candle_core::{DType, Device, ModuleT, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use unet3p_models::{Predictor, UNet3Plus, UNet3PlusConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let variables = VarMap::new();
/// let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
/// let config = UNet3PlusConfig::builder().filters([4, 8, 16]).build()?;
/// let model = UNet3Plus::new(&config, vb)?;
/// let image = Tensor::zeros((1, 3, 30, 30), DType::F32, &Device::Cpu)?;
/// assert_eq!(model.forward_t(&image, false)?.dims(), [1, 1, 30, 30]);
/// assert_eq!(model.predict(&image)?.probabilities.dims(), [1, 1, 30, 30]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct UNet3Plus {
    pub(crate) config: UNet3PlusConfig,
    pub(crate) architecture: Architecture,
    pub(crate) module: GraphModule,
    pub(crate) parameters: Parameters,
}

impl std::fmt::Debug for UNet3Plus {
    /// The configuration stands for the network: its weights would fill books.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UNet3Plus").field("config", &self.config).finish()
    }
}

impl UNet3Plus {
    /// A network whose parameters come from `parameters`, under the names of [`tensor_shapes`].
    ///
    /// # Errors
    /// Where the configuration cannot be built, or a tensor is missing or of another shape.
    pub fn new(config: &UNet3PlusConfig, parameters: VarBuilder<'_>) -> Result<Self> {
        config.validate()?;
        let architecture = Architecture::new(config);
        let options = BatchNormOptions { eps: config.batch_norm_eps, momentum: config.batch_norm_momentum };
        let (dtype, device) = (parameters.dtype(), parameters.device().clone());
        let module = GraphModule::new(architecture.graph.clone(), parameters)?.with_batch_norm(options);
        let parameters = Parameters::from_variables(module.variables(), dtype, &device);
        Ok(Self { config: config.clone(), architecture, module, parameters })
    }

    /// A network with weights drawn from `seed` (He et al. 2015, normal).
    ///
    /// # Errors
    /// Where the configuration cannot be built, or the device is out of memory.
    pub fn init(config: &UNet3PlusConfig, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        Self::new(config, Parameters::init(seed, dtype, device).builder())
    }

    /// A network with the given weights, under the names of [`tensor_shapes`].
    ///
    /// # Errors
    /// Where tensors are missing, left over or of another shape: all of them are listed.
    pub fn from_tensors(
        config: &UNet3PlusConfig,
        tensors: HashMap<String, Tensor>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        check_weights(config, |name| tensors.get(name).map(|tensor| tensor.dims().to_vec()), tensors.keys())?;
        Self::new(config, Parameters::from_tensors(tensors, dtype, device)?.builder())
    }

    /// The same network and parameters on another implementation of its operations: for tests, which hold the
    /// CPU kernels and Candle's operations to the same results.
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { module: self.module.with_backend(backend), ..self }
    }

    /// The same network and parameters, with dropout drawn from a generator with this seed; default 0.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { module: self.module.with_seed(seed), ..self }
    }

    /// Lets dropout go on from here: a training that is resumed draws what it would have drawn.
    pub fn set_generator(&self, generator: ChaCha8Rng) {
        self.module.set_generator(generator);
    }

    /// The configuration.
    pub fn config(&self) -> &UNet3PlusConfig {
        &self.config
    }

    /// The weights and running statistics.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The operations of the network.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The logits of every head in training mode: batch statistics, which also move the running ones, and dropout. Height
    /// and width of `x` must be multiples of [`UNet3PlusConfig::size_multiple`].
    ///
    /// In f32 on the CPU the pass runs on a tape of its own, from whose outputs `backward` can be called once.
    ///
    /// # Errors
    /// Where the size is not such a multiple, or the channels do not fit.
    pub fn forward_train(&self, x: &Tensor) -> Result<Logits> {
        let (_, _, height, width) = checked_dims(&self.config, x)?;
        let multiple = self.config.size_multiple();
        if !(height.is_multiple_of(multiple) && width.is_multiple_of(multiple)) {
            return Err(Error::Input(format!(
                "training images of {height}x{width}: sides must be multiples of {multiple}"
            )));
        }
        let outputs = self.architecture.outputs(self.heads());
        let all = if self.parameters.dtype() == DType::F32 && self.module.trains_on_tape(x) {
            self.module.forward_on_tape(x, &outputs)?
        } else {
            self.module.forward_t(&[x], &outputs, true)?
        };
        Ok(self.split(all))
    }

    /// The maps of the encoder alone, E1, E2, ..., in evaluation mode; `x` of any size, the maps of the padded size.
    ///
    /// # Errors
    /// Where `x` has other channels than the network takes, or is empty.
    pub fn encode(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        checked_dims(&self.config, x)?;
        let x = pad_to_multiple(x, self.config.size_multiple())?;
        Ok(self.module.forward_t(&[&x], &self.architecture.encoder, false)?)
    }

    /// Outputs in the order of [`Architecture::outputs`].
    fn split(&self, mut outputs: Vec<Tensor>) -> Logits {
        let presence = self.architecture.presence.and_then(|_| outputs.pop());
        Logits { heads: outputs, presence }
    }
}

impl Predictor for UNet3Plus {
    fn config(&self) -> &UNet3PlusConfig {
        &self.config
    }

    fn logits(&self, x: &Tensor, heads: usize) -> Result<Logits> {
        let (_, _, height, width) = checked_dims(&self.config, x)?;
        let x = pad_to_multiple(x, self.config.size_multiple())?;
        let outputs = self.module.forward_t(&[&x], &self.architecture.outputs(heads), false)?;
        let logits = self.split(outputs);
        let cropped = logits.heads.iter().map(|logits| logits.narrow(2, 0, height)?.narrow(3, 0, width));
        Ok(Logits { heads: cropped.collect::<candle_core::Result<_>>()?, ..logits })
    }
}

impl ModuleT for UNet3Plus {
    /// The logits of head 1 at the size of `x`, ungated; in training mode sides of `x` are multiples of
    /// [`UNet3PlusConfig::size_multiple`].
    fn forward_t(&self, x: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        let logits = if train { self.forward_train(x) } else { self.logits(x, 1) };
        Ok(logits.map_err(candle_core::Error::wrap)?.heads.remove(0))
    }
}

/// Compares the tensors at hand with those that the configuration needs.
pub(crate) fn check_weights<'a>(
    config: &UNet3PlusConfig,
    shape_of: impl Fn(&str) -> Option<Vec<usize>>,
    names: impl Iterator<Item = &'a String>,
) -> Result<()> {
    let expected = tensor_shapes(config);
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    for (name, shape) in &expected {
        match shape_of(name) {
            None => missing.push(name.clone()),
            Some(got) if got != *shape => misshapen.push(format!("{name} is {got:?}, not {shape:?}")),
            Some(_) => {}
        }
    }
    let mut left_over: Vec<_> = names.filter(|name| !expected.contains_key(*name)).cloned().collect();
    left_over.sort();
    if missing.is_empty() && left_over.is_empty() && misshapen.is_empty() {
        return Ok(());
    }
    Err(Error::Weights { missing, left_over, misshapen })
}
