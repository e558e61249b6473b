//! From the tensor names of the authors' PyTorch code to ours, and from shapes to the architecture.
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

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use unet3p_models::Variant;

/// Number of scales, and of branches that meet in a decoder node.
const SCALES: usize = 5;

/// How the tensors of a checkpoint are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// As in the authors' PyTorch code.
    Authors,
    /// As in this library's model folders.
    Native,
}

/// What the shapes of a checkpoint say about its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Which heads and guide there are.
    pub variant: Variant,
    /// Channels of the input image.
    pub in_channels: usize,
    /// Classes of the heads.
    pub num_classes: usize,
    /// Channels of the five encoder maps.
    pub filters: [usize; SCALES],
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

/// A tensor whose shape does not fit the rest of its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongShape {
    /// The name in the checkpoint.
    pub name: String,
    /// The shape there.
    pub found: Vec<usize>,
    /// The shape that the other tensors ask for; 0 where they do not tell.
    pub expected: Vec<usize>,
}

/// The tensors by which a checkpoint differs from a UNet 3+, under the checkpoint's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameMismatch {
    /// Needed, not in the checkpoint.
    pub missing: Vec<String>,
    /// In the checkpoint, not part of the network.
    pub left_over: Vec<String>,
    /// In both, with different shapes.
    pub wrong_shape: Vec<WrongShape>,
}

impl fmt::Display for NameMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its tensors are not those of a UNet 3+")?;
        for (what, names) in [("missing", &self.missing), ("left over", &self.left_over)] {
            if !names.is_empty() {
                write!(f, "; {} {what}: {}", names.len(), names.join(", "))?;
            }
        }
        if !self.wrong_shape.is_empty() {
            write!(f, "; {} of another shape: ", self.wrong_shape.len())?;
            for (index, wrong) in self.wrong_shape.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                let WrongShape { name, found, expected } = wrong;
                write!(f, "{comma}{name} is {found:?} instead of {expected:?}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for NameMismatch {}

impl Naming {
    /// Tells by the first convolution's name; what has neither is taken for the authors'.
    pub fn detect<T>(tensors: &BTreeMap<String, T>) -> Self {
        if tensors.contains_key("encoder.1.conv1.weight") { Self::Native } else { Self::Authors }
    }

    /// A convolution's name and, where one follows it, its batch normalisation's.
    fn encoder(self, scale: usize, conv: usize) -> (String, String) {
        match self {
            Self::Authors => {
                let block = format!("conv{scale}.conv{conv}");
                (format!("{block}.0"), format!("{block}.1"))
            }
            Self::Native => {
                let block = format!("encoder.{scale}");
                (format!("{block}.conv{conv}"), format!("{block}.bn{conv}"))
            }
        }
    }

    fn branch(self, node: usize, source: usize) -> (String, String) {
        match self {
            Self::Authors => {
                let path = match source.cmp(&node) {
                    std::cmp::Ordering::Less => format!("h{source}_PT_hd{node}"),
                    std::cmp::Ordering::Equal => format!("h{source}_Cat_hd{node}"),
                    std::cmp::Ordering::Greater => format!("hd{source}_UT_hd{node}"),
                };
                (format!("{path}_conv"), format!("{path}_bn"))
            }
            Self::Native => {
                let path = format!("decoder.{node}.branch{source}");
                (format!("{path}.conv"), format!("{path}.bn"))
            }
        }
    }

    fn fuse(self, node: usize) -> (String, String) {
        match self {
            Self::Authors => (format!("conv{node}d_1"), format!("bn{node}d_1")),
            Self::Native => {
                let path = format!("decoder.{node}.fuse");
                (format!("{path}.conv"), format!("{path}.bn"))
            }
        }
    }

    fn head(self, number: usize) -> String {
        match self {
            Self::Authors => format!("outconv{number}"),
            Self::Native => format!("head.{number}"),
        }
    }

    fn guide(self) -> String {
        match self {
            Self::Authors => "cls.1".to_owned(),
            Self::Native => "cgm".to_owned(),
        }
    }
}

/// Lists the tensors of a network and where each is found in a checkpoint.
///
/// ```
/// use unet3p_hub::names::{Architecture, Naming, tensor_specs};
/// use unet3p_models::Variant;
///
/// let architecture = Architecture {
///     variant: Variant::Base,
///     in_channels: 3,
///     num_classes: 1,
///     filters: [64, 128, 256, 512, 1024],
/// };
/// let specs = tensor_specs(Naming::Authors, &architecture);
/// let skip = specs.iter().find(|s| s.name == "decoder.4.branch2.conv.weight").unwrap();
/// assert_eq!(skip.source, "h2_PT_hd4_conv.weight");
/// assert_eq!(skip.shape, [64, 128, 3, 3]);
/// ```
pub fn tensor_specs(naming: Naming, architecture: &Architecture) -> Vec<TensorSpec> {
    let Architecture { variant, in_channels, num_classes, filters } = *architecture;
    let branch_channels = filters[0];
    // Saturating, because channels come from shapes that may be anything.
    let fused_channels = branch_channels.saturating_mul(SCALES);
    let mut specs = Specs::default();

    for scale in 1..=SCALES {
        let mut channels = if scale == 1 { in_channels } else { filters[scale - 2] };
        for conv in 1..=2 {
            let names = (Naming::Native.encoder(scale, conv), naming.encoder(scale, conv));
            specs.conv_and_norm(names, [filters[scale - 1], channels]);
            channels = filters[scale - 1];
        }
    }
    for node in 1..SCALES {
        for source in 1..=SCALES {
            // Decoder nodes 2 to 4 feed the nodes above them; scale 5 has the encoder's map alone.
            let channels =
                if source <= node || source == SCALES { filters[source - 1] } else { fused_channels };
            let names = (Naming::Native.branch(node, source), naming.branch(node, source));
            specs.conv_and_norm(names, [branch_channels, channels]);
        }
        let names = (Naming::Native.fuse(node), naming.fuse(node));
        specs.conv_and_norm(names, [fused_channels, fused_channels]);
    }
    let heads = if variant == Variant::Base { 1 } else { SCALES };
    for number in 1..=heads {
        let channels = if number == SCALES { filters[SCALES - 1] } else { fused_channels };
        let names = (Naming::Native.head(number), naming.head(number));
        specs.conv(&names.0, &names.1, [num_classes, channels], 3);
    }
    if variant == Variant::DeepSupervisionCgm {
        let names = (Naming::Native.guide(), naming.guide());
        specs.conv(&names.0, &names.1, [2, filters[SCALES - 1]], 1);
    }
    specs.0
}

#[derive(Default)]
struct Specs(Vec<TensorSpec>);

impl Specs {
    fn push(&mut self, name: &str, source: &str, part: &str, shape: Vec<usize>) {
        self.0.push(TensorSpec { name: format!("{name}.{part}"), source: format!("{source}.{part}"), shape });
    }

    fn conv(&mut self, name: &str, source: &str, [output, input]: [usize; 2], kernel: usize) {
        self.push(name, source, "weight", vec![output, input, kernel, kernel]);
        self.push(name, source, "bias", vec![output]);
    }

    /// Names are (ours, theirs), each of the convolution and of its batch normalisation.
    fn conv_and_norm(&mut self, (ours, theirs): ((String, String), (String, String)), channels: [usize; 2]) {
        self.conv(&ours.0, &theirs.0, channels, 3);
        for part in ["weight", "bias", "running_mean", "running_var"] {
            self.push(&ours.1, &theirs.1, part, vec![channels[0]]);
        }
    }
}

/// Reads variant, channels and classes out of the shapes of a checkpoint's tensors.
///
/// PyTorch's counters `num_batches_tracked` are ignored: they do not take part in the network.
///
/// # Errors
///
/// [`NameMismatch`] with every name where the tensors are not exactly those of a UNet 3+.
pub fn infer_architecture(
    naming: Naming,
    shapes: &BTreeMap<String, Vec<usize>>,
) -> Result<Architecture, NameMismatch> {
    let has = |module: String| shapes.contains_key(&format!("{module}.weight"));
    let variant = if has(naming.guide()) {
        Variant::DeepSupervisionCgm
    } else if (2..=SCALES).any(|number| has(naming.head(number))) {
        Variant::DeepSupervision
    } else {
        Variant::Base
    };

    // Channels come from the first convolution of each scale and from head 1. Where one of them is
    // missing or no kernel, only names and numbers of dimensions are compared.
    let kernel = |module: String| match shapes.get(&format!("{module}.weight")).map(Vec::as_slice) {
        Some(&[output, input, _, _]) => Some((output, input)),
        _ => None,
    };
    let first = (1..=SCALES).map(|scale| kernel(naming.encoder(scale, 1).0));
    let found = first.collect::<Option<Vec<_>>>().and_then(|first| {
        let filters = <[_; SCALES]>::try_from(first).ok()?;
        Some(Architecture {
            variant,
            in_channels: filters[0].1,
            num_classes: kernel(naming.head(1))?.0,
            filters: filters.map(|(output, _)| output),
        })
    });
    let architecture =
        found.unwrap_or(Architecture { variant, in_channels: 0, num_classes: 0, filters: [0; SCALES] });

    let differs = |shape: &Vec<usize>, expected: &Vec<usize>| match found {
        Some(_) => shape != expected,
        None => shape.len() != expected.len(),
    };

    let specs = tensor_specs(naming, &architecture);
    let mut mismatch = NameMismatch::default();
    for spec in &specs {
        match shapes.get(&spec.source) {
            None => mismatch.missing.push(spec.source.clone()),
            Some(shape) if differs(shape, &spec.shape) => {
                mismatch.wrong_shape.push(WrongShape {
                    name: spec.source.clone(),
                    found: shape.clone(),
                    expected: spec.shape.clone(),
                });
            }
            Some(_) => {}
        }
    }
    let known: BTreeSet<&str> = specs.iter().map(|spec| spec.source.as_str()).collect();
    mismatch.left_over = shapes
        .keys()
        .filter(|name| !known.contains(name.as_str()) && !name.ends_with(".num_batches_tracked"))
        .cloned()
        .collect();
    match found {
        Some(found) if mismatch == NameMismatch::default() => Ok(found),
        _ => Err(mismatch),
    }
}
