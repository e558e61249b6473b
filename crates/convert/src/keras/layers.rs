//! The layers of an HDF5 file of Keras, with their weights not yet read.

use hdf5_reader::group::Group;
use hdf5_reader::{Dataset, Hdf5File};

use super::KerasError;
use super::settings::Description;

/// Most groups and datasets visited. A UNet 3+ has at most 40 convolutions and 34 batch normalisations; 128 other
/// layers and an optimizer's state stay far below.
const MAX_OBJECTS: usize = 1 << 14;

/// How deep weights may lie below their layer.
const MAX_DEPTH: usize = 6;

/// A layer that has weights.
pub(super) struct Layer {
    /// Its name, in which Keras numbers the layers of a class in the order in which they were made.
    pub(super) name: String,
    pub(super) weights: Vec<Weight>,
}

impl Layer {
    /// The name of a weight in the file, as errors show it.
    pub(super) fn source_name(&self, weight: &Weight) -> String {
        format!("{}/{}", self.name, weight.path)
    }
}

/// A dataset of a layer.
pub(super) struct Weight {
    /// Where it is below its layer: `kernel:0`, `kernel`, or `vars/0`.
    pub(super) path: String,
    pub(super) data: Dataset,
}

/// Counts what is visited, against groups that contain each other.
struct Walk {
    left: usize,
}

/// The layers with weights, and the names of those without where the file has them. `description` is that of the model
/// around the weights, where there is one.
pub(super) fn layers(
    file: &Hdf5File,
    description: Option<&Description>,
) -> Result<(Vec<Layer>, Vec<String>), KerasError> {
    let mut walk = Walk { left: MAX_OBJECTS };
    let root = file.root_group()?;
    let (groups, _) = walk.members(&root)?;
    let find = |name: &str| groups.iter().find(|group| group.name() == name);
    // Keras 3, and before it the new format of TensorFlow 2.12.
    if let Some(numbered) = find("layers").or_else(|| find("_layer_checkpoint_dependencies")) {
        return Ok((walk.numbered(numbered, description)?, Vec::new()));
    }
    match find("model_weights") {
        Some(group) => {
            let (groups, _) = walk.members(group)?;
            walk.named(&groups)
        }
        None => walk.named(&groups),
    }
}

impl Walk {
    fn members(&mut self, group: &Group) -> Result<(Vec<Group>, Vec<Dataset>), KerasError> {
        let (groups, datasets) = group.members()?;
        let Some(left) = self.left.checked_sub(groups.len() + datasets.len()) else {
            return Err(KerasError::TooLarge {
                what: "groups and datasets",
                claimed: (MAX_OBJECTS - self.left + groups.len() + datasets.len()) as u64,
                limit: MAX_OBJECTS as u64,
            });
        };
        self.left = left;
        Ok((groups, datasets))
    }

    /// The HDF5 format of Keras 2: a group for each layer of the graph, under its name. Also the names of the layers
    /// without weights.
    fn named(&mut self, groups: &[Group]) -> Result<(Vec<Layer>, Vec<String>), KerasError> {
        let (mut layers, mut bare) = (Vec::new(), Vec::new());
        for group in groups {
            let name = group.name().to_owned();
            let mut weights = Vec::new();
            self.collect(group, "", 0, &mut weights)?;
            if weights.is_empty() {
                bare.push(name);
                continue;
            }
            // The layer's name is usually repeated: `conv2d/conv2d/kernel:0`.
            let repeated = format!("{name}/");
            for weight in &mut weights {
                if let Some(rest) = weight.path.strip_prefix(&repeated) {
                    weight.path = rest.to_owned();
                }
            }
            layers.push(Layer { name, weights });
        }
        Ok((layers, bare))
    }

    /// The format of Keras 3: groups `CLASS`, `CLASS_1`, ... in the order of the graph, with `vars/0`, `vars/1`, ...
    fn numbered(
        &mut self,
        group: &Group,
        description: Option<&Description>,
    ) -> Result<Vec<Layer>, KerasError> {
        let mut layers = Vec::new();
        let (groups, _) = self.members(group)?;
        for group in groups {
            let mut weights = Vec::new();
            self.collect(&group, "", 0, &mut weights)?;
            // A dropout layer keeps the state of its random numbers.
            weights.retain(|weight| !weight.path.starts_with("seed_generator/"));
            if weights.is_empty() {
                continue;
            }
            layers.push(Layer { name: layer_name(&group, description)?, weights });
        }
        Ok(layers)
    }

    /// All datasets below a group.
    fn collect(
        &mut self,
        group: &Group,
        path: &str,
        depth: usize,
        weights: &mut Vec<Weight>,
    ) -> Result<(), KerasError> {
        if depth > MAX_DEPTH {
            return Err(KerasError::TooLarge {
                what: "groups in each other",
                claimed: depth as u64,
                limit: MAX_DEPTH as u64,
            });
        }
        let (groups, datasets) = self.members(group)?;
        weights
            .extend(datasets.into_iter().map(|data| Weight { path: format!("{path}{}", data.name()), data }));
        for group in groups {
            self.collect(&group, &format!("{path}{}/", group.name()), depth + 1, weights)?;
        }
        Ok(())
    }
}

/// The layer's own name, behind the group's number in the graph: an attribute since Keras 3.6, else the description's
/// layer of that number.
fn layer_name(group: &Group, description: Option<&Description>) -> Result<String, KerasError> {
    if let Ok(name) = group.group("vars").and_then(|vars| vars.attribute("name")?.read_string()) {
        return Ok(name);
    }
    let (class, number) = match split_number(group.name()) {
        Some(("conv2d", number)) => ("Conv2D", number),
        Some(("batch_normalization", number)) => ("BatchNormalization", number),
        // Of another class: left over, whatever its name.
        _ => return Ok(group.name().to_owned()),
    };
    let described = description.and_then(|description| description.names_of(class).nth(number));
    described.map(str::to_owned).ok_or(KerasError::Nameless)
}

/// The class and the number in a layer's name: `conv2d_7` is number 7 of `conv2d`, `conv2d` number 0.
pub(super) fn split_number(name: &str) -> Option<(&str, usize)> {
    match name.rsplit_once('_') {
        Some((class, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((class, number.parse().ok()?))
        }
        _ => Some((name, 0)),
    }
}
