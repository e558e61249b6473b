//! From the tensor names of the authors' PyTorch code to ours, and from shapes to the configuration.
//!
//! The authors (ZJUGiveLab, UNet-Version) name a module after the path of its data: `h2_PT_hd4` is
//! encoder map 2 (`h2`), pooled (`PT`), into decoder node 4 (`hd4`); `Cat` is the encoder map at the
//! node's own scale, `hd5_UT_hd4` the upsampled map of scale 5. Their code concatenates the branches
//! of a node by the scale of the source, 1 to 5, and so do we: the fusing convolution's input
//! channels need no reordering.
//!
//! | authors | here |
//! |---|---|
//! | `conv{i}.conv{j}.0.*`, `conv{i}.conv{j}.1.*` | `encoder.{i}.conv{j}.*`, `encoder.{i}.bn{j}.*` |
//! | `h{s}_PT_hd{d}_conv.*` (s < d), `h{d}_Cat_hd{d}_conv.*`, `hd{s}_UT_hd{d}_conv.*` (s > d) | `decoder.{d}.branch{s}.conv.*` |
//! | the same with `_bn` | `decoder.{d}.branch{s}.bn.*` |
//! | `conv{d}d_1.*`, `bn{d}d_1.*` | `decoder.{d}.fuse.conv.*`, `decoder.{d}.fuse.bn.*` |
//! | `outconv{n}.*` | `head.{n}.*` |
//! | `cls.1.*` | `cgm.*` |

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use unet3p_core::graph::Op;
use unet3p_models::{Architecture, CgmGate, Encoder, UNet3PlusConfig, Variant, tensor_shapes};

/// Most channels that a kernel is believed to have, as in [`UNet3PlusConfig::validate`].
const MAX_CHANNELS: usize = 1 << 16;

/// The first convolution's kernel, of the plain encoder and of the others, whose first stage has only one.
const FIRST: [&str; 2] = ["encoder.1.conv1.weight", "encoder.1.conv.weight"];

/// How the tensors of a checkpoint are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// As in the authors' PyTorch code.
    Authors,
    /// As in this library's model folders.
    Native,
}

impl Naming {
    /// Tells by the first convolution's name how tensors are named, and what stands before all names: `module.` of
    /// PyTorch's `DataParallel`, `model.` of a Lightning module. What has no such convolution is taken for the
    /// authors', without anything before.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use unet3p_convert::names::Naming;
    ///
    /// let names = BTreeMap::from([("model.module.conv1.conv1.0.weight".to_string(), ())]);
    /// assert_eq!(Naming::detect(&names), (Naming::Authors, "model.module.".to_string()));
    /// ```
    pub fn detect<T>(tensors: &BTreeMap<String, T>) -> (Self, String) {
        // The authors' code has the plain encoder alone.
        let firsts = [(Self::Native, FIRST[0]), (Self::Native, FIRST[1]), (Self::Authors, FIRST[0])];
        let firsts = firsts.map(|(naming, first)| (naming, naming.of(first)));
        let found = tensors.keys().flat_map(|name| {
            firsts.iter().filter_map(|(naming, first)| Some((*naming, name.strip_suffix(first.as_str())?)))
        });
        let whole = found.filter(|(_, prefix)| prefix.is_empty() || prefix.ends_with('.'));
        // A copy of the network lies deeper, as `ema.model.`.
        match whole.min_by_key(|(_, prefix)| prefix.len()) {
            Some((naming, prefix)) => (naming, prefix.to_owned()),
            None => (Self::Authors, String::new()),
        }
    }

    /// The name in a checkpoint of the tensor that we call `name`.
    ///
    /// ```
    /// use unet3p_convert::names::Naming;
    ///
    /// let theirs = |name| Naming::Authors.of(name);
    /// assert_eq!(theirs("encoder.3.bn2.running_var"), "conv3.conv2.1.running_var");
    /// assert_eq!(theirs("decoder.4.branch2.conv.weight"), "h2_PT_hd4_conv.weight");
    /// assert_eq!(theirs("decoder.2.fuse.bn.bias"), "bn2d_1.bias");
    /// ```
    pub fn of(self, name: &str) -> String {
        if self == Self::Native {
            return name.to_owned();
        }
        let parts: Vec<&str> = name.split('.').collect();
        match parts[..] {
            ["encoder", scale, layer, leaf] => match layer.strip_prefix("bn") {
                Some(number) => format!("conv{scale}.conv{number}.1.{leaf}"),
                None => format!("conv{scale}.{layer}.0.{leaf}"),
            },
            ["decoder", node, "fuse", layer, leaf] => format!("{layer}{node}d_1.{leaf}"),
            ["decoder", node, branch, layer, leaf] => {
                let source = branch.trim_start_matches("branch");
                // One digit each, so texts compare as numbers do.
                let path = match source.cmp(node) {
                    Ordering::Less => format!("h{source}_PT"),
                    Ordering::Equal => format!("h{source}_Cat"),
                    Ordering::Greater => format!("hd{source}_UT"),
                };
                format!("{path}_hd{node}_{layer}.{leaf}")
            }
            ["head", number, leaf] => format!("outconv{number}.{leaf}"),
            ["cgm", leaf] => format!("cls.1.{leaf}"),
            _ => name.to_owned(),
        }
    }
}

/// A tensor of the network under both names, with the shape it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name in a model folder.
    pub name: String,
    /// The name in the checkpoint.
    pub source: String,
    /// The shape, kernels as [output, input, height, width].
    pub shape: Vec<usize>,
}

/// Lists the tensors of a network and where each is found in a checkpoint, by our names.
pub fn tensor_specs(naming: Naming, config: &UNet3PlusConfig) -> Vec<TensorSpec> {
    specs(&|name| naming.of(name), config)
}

/// [`tensor_specs`] where `source_of` gives the names in the checkpoint.
pub(crate) fn specs(source_of: &dyn Fn(&str) -> String, config: &UNet3PlusConfig) -> Vec<TensorSpec> {
    let shapes = tensor_shapes(config).into_iter();
    shapes.map(|(name, shape)| TensorSpec { source: source_of(&name), name, shape }).collect()
}

/// The tensors by which a checkpoint differs from a UNet 3+, under the checkpoint's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameMismatch {
    /// Needed, not in the checkpoint.
    pub missing: Vec<String>,
    /// In the checkpoint, not part of the network.
    pub left_over: Vec<String>,
    /// In both with different shapes, each with what it is and what it should be, kernels as
    /// [output, input, height, width].
    pub misshapen: Vec<String>,
}

impl NameMismatch {
    /// How many tensors differ.
    fn len(&self) -> usize {
        self.missing.len() + self.left_over.len() + self.misshapen.len()
    }
}

impl fmt::Display for NameMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its tensors are not those of a UNet 3+")?;
        let lists = [
            ("missing", &self.missing),
            ("left over", &self.left_over),
            ("of another shape (kernels as [output, input, height, width])", &self.misshapen),
        ];
        for (what, names) in lists {
            if !names.is_empty() {
                write!(f, "; {} {what}: {}", names.len(), names.join(", "))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for NameMismatch {}

/// Reads variant, encoder, channels and classes out of the shapes of a checkpoint's tensors.
///
/// The rest of the configuration is that of the authors' code: sigmoid, batch normalisation with eps
/// 1e-5, the classification guide multiplying the logits. Counts, as PyTorch's `num_batches_tracked`,
/// are ignored: they do not take part in the network.
///
/// # Errors
///
/// [`NameMismatch`] with every name where the tensors are not exactly those of a UNet 3+, against the encoder that
/// comes closest.
pub fn infer_architecture(
    naming: Naming,
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Result<UNet3PlusConfig, NameMismatch> {
    infer(&|name| naming.of(name), shapes)
}

/// [`infer_architecture`] where `source_of` gives the names in the checkpoint.
pub(crate) fn infer(
    source_of: &dyn Fn(&str) -> String,
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Result<UNet3PlusConfig, NameMismatch> {
    let encoders =
        if shapes.contains_key(&source_of(FIRST[1])) { &Encoder::ALL[1..] } else { &[Encoder::Plain] };
    let mut closest: Option<NameMismatch> = None;
    for &encoder in encoders {
        match infer_with(encoder, source_of, shapes) {
            Ok(config) => return Ok(config),
            Err(mismatch) => {
                if closest.as_ref().is_none_or(|closest| mismatch.len() < closest.len()) {
                    closest = Some(mismatch);
                }
            }
        }
    }
    Err(closest.unwrap_or_default())
}

/// [`infer`] where the encoder is known.
fn infer_with(
    encoder: Encoder,
    source_of: &dyn Fn(&str) -> String,
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Result<UNet3PlusConfig, NameMismatch> {
    let weight = |module: &str| source_of(&format!("{module}.weight"));
    let has = |module: &str| shapes.contains_key(&weight(module));
    let mut config = UNet3PlusConfig::default();
    config.encoder = encoder;
    // as many scales as there are names of
    config.filters = vec![1; *encoder.depths().end()];
    let stages = stage_convolutions(&config);
    let depth = stages.iter().take_while(|(name, _)| has(name)).count();
    config.filters = match encoder.depths().contains(&depth) {
        true => vec![1; depth],
        false => encoder.filters(),
    };
    config.variant = if has("cgm") {
        Variant::DeepSupervisionCgm
    } else if (2..=config.filters.len()).any(|number| has(&format!("head.{number}"))) {
        Variant::DeepSupervision
    } else {
        Variant::Base
    };
    if config.variant.has_cgm() {
        config.cgm_gate = CgmGate::Logits;
    }

    // Channels come from one convolution of each scale and from head 1. Where one of them is
    // missing or no kernel, shapes tell nothing and only names are compared.
    let mut mismatch = NameMismatch::default();
    let mut kernel = |module: &str, side: usize| match shapes.get(&weight(module))?.as_slice() {
        &[outputs, inputs, height, width]
            if outputs.max(inputs) <= MAX_CHANNELS && [height, width] == [side; 2] =>
        {
            Some((outputs, inputs))
        }
        other => {
            let name = weight(module);
            mismatch.misshapen.push(format!(
                "{name} is {other:?}, not a {side}x{side} kernel of {MAX_CHANNELS} channels at most"
            ));
            None
        }
    };
    let mut known = true;
    for ((name, side), filters) in stages.iter().zip(&mut config.filters) {
        match kernel(name, *side) {
            Some((outputs, _)) => *filters = outputs,
            None => known = false,
        }
    }
    let (first, side) = first_convolution(encoder);
    match kernel(&first, side) {
        Some((_, inputs)) => config.in_channels = inputs,
        None => known = false,
    }
    match kernel("head.1", 3) {
        Some((outputs, _)) => config.num_classes = outputs,
        None => known = false,
    }

    let found = differences(source_of, &config, shapes, known);
    mismatch.missing = found.missing;
    mismatch.left_over = found.left_over;
    mismatch.misshapen.extend(found.misshapen);
    if mismatch == NameMismatch::default() { Ok(config) } else { Err(mismatch) }
}

/// The convolution that gives each stage of the encoder its channels, and the side of its kernel.
fn stage_convolutions(config: &UNet3PlusConfig) -> Vec<(String, usize)> {
    let Architecture { graph, encoder, .. } = Architecture::new(config);
    let convolution = |map| match &graph[map].op {
        Op::AddRelu => graph[map].inputs[0],
        _ => map,
    };
    let side = |node| match &graph[node].op {
        Op::Conv(conv) => Some((graph[node].name.clone(), conv.kernel)),
        _ => None,
    };
    encoder.into_iter().map(convolution).filter_map(side).collect()
}

/// The first convolution of an encoder, and the side of its kernel.
fn first_convolution(encoder: Encoder) -> (String, usize) {
    let mut config = UNet3PlusConfig::default();
    config.encoder = encoder;
    config.filters = encoder.filters();
    let graph = Architecture::new(&config).graph;
    let first = graph.convolutions().next();
    first.map(|(node, conv)| (node.name.clone(), conv.kernel)).unwrap_or_default()
}

/// How the tensors of a checkpoint differ from those of a network; their shapes only where that is `known` whole.
pub(crate) fn differences(
    source_of: &dyn Fn(&str) -> String,
    config: &UNet3PlusConfig,
    shapes: &BTreeMap<String, Vec<usize>>,
    known: bool,
) -> NameMismatch {
    let mut mismatch = NameMismatch::default();
    let specs = specs(source_of, config);
    for TensorSpec { source, shape, .. } in &specs {
        match shapes.get(source) {
            None => mismatch.missing.push(source.clone()),
            Some(found) if known && found != shape => {
                mismatch.misshapen.push(format!("{source} is {found:?}, not {shape:?}"));
            }
            Some(_) => {}
        }
    }
    let expected: BTreeSet<&String> = specs.iter().map(|spec| &spec.source).collect();
    let left_over = shapes.iter().filter(|(name, shape)| !expected.contains(name) && !is_count(name, shape));
    mismatch.left_over = left_over.map(|(name, _)| name.clone()).collect();
    mismatch
}

/// What tools leave in a state dict that is no weight: PyTorch's batch normalisation counts batches, its AveragedModel
/// models, thop operations and parameters.
const COUNTS: [&str; 4] = ["num_batches_tracked", "n_averaged", "total_ops", "total_params"];

/// Whether a tensor is such a count. A single number without dimensions is one whatever its name: no layer has such.
pub(crate) fn is_count(name: &str, shape: &[usize]) -> bool {
    shape.is_empty() || COUNTS.contains(&last_part(name))
}

/// What a name ends with, behind the modules: `num_batches_tracked`.
pub(crate) fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
