//! What the description of a Keras model says beyond its weights.

use serde::Deserialize;
use serde_json::Value;
use unet3p_models::Activation;

use super::KerasError;

/// Keras's defaults for batch normalisation, in its own convention: the weight of what was.
const EPSILON: f64 = 1e-3;
const MOMENTUM: f64 = 0.99;

/// The part of a configuration that is not in the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KerasSettings {
    /// Added to the variance in batch normalisation.
    pub batch_norm_eps: f64,
    /// Weight of a batch in the running statistics: one minus Keras's momentum.
    pub batch_norm_momentum: f64,
    /// Whether the file tells the former, which is Keras's default otherwise.
    pub batch_norm_told: bool,
    /// From logits to probabilities, where the file tells.
    pub activation: Option<Activation>,
}

/// A layer or an operation of the graph.
#[derive(Deserialize)]
struct Node {
    class_name: String,
    /// Left out by Keras 2 for some classes, whose `config` has it.
    name: Option<String>,
    #[serde(default)]
    config: Value,
}

/// The description of a model: its layers in the order of the graph.
#[derive(Deserialize)]
pub(super) struct Description {
    config: Layers,
}

#[derive(Deserialize)]
struct Layers {
    layers: Vec<Node>,
}

impl Description {
    pub(super) fn from_json(json: &[u8]) -> Result<Self, KerasError> {
        Ok(serde_json::from_slice(json)?)
    }

    /// The names of the layers of a class.
    pub(super) fn names_of<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a str> {
        self.config.layers.iter().filter(move |node| node.class_name == class).filter_map(Node::name)
    }

    pub(super) fn settings(&self) -> Result<KerasSettings, KerasError> {
        let nodes = &self.config.layers;
        let said = |node: &Node| {
            let texts = [Some(node.class_name.as_str()), node.text("function"), node.text("activation")];
            texts.into_iter().flatten().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
        };
        let told = (same(nodes, "epsilon")?, same(nodes, "momentum")?);
        Ok(settings(told, activation_in(nodes.iter().map(said))))
    }
}

impl Node {
    fn name(&self) -> Option<&str> {
        self.name.as_deref().or_else(|| self.text("name"))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key)?.as_str()
    }
}

/// What the names of layers alone tell, as `tf.nn.softmax`.
pub(super) fn settings_by_names<'a>(names: impl Iterator<Item = &'a str>) -> KerasSettings {
    settings((None, None), activation_in(names.map(str::to_owned)))
}

fn settings(
    (epsilon, momentum): (Option<f64>, Option<f64>),
    activation: Option<Activation>,
) -> KerasSettings {
    let batch_norm_told = epsilon.is_some();
    let (epsilon, momentum) = (epsilon.unwrap_or(EPSILON), momentum.unwrap_or(MOMENTUM));
    // 0.99 is to become 0.01, which the difference of the binary numbers is not.
    let batch_norm_momentum = ((1.0 - momentum) * 1e9).round() / 1e9;
    KerasSettings { batch_norm_eps: epsilon, batch_norm_momentum, batch_norm_told, activation }
}

/// The setting of all batch normalisations.
fn same(nodes: &[Node], key: &'static str) -> Result<Option<f64>, KerasError> {
    let norms = nodes.iter().filter(|node| node.class_name == "BatchNormalization");
    let mut values = norms.filter_map(|node| node.config.get(key)?.as_f64());
    let Some(one) = values.next() else { return Ok(None) };
    match values.find(|&other| other != one) {
        Some(other) => Err(KerasError::MixedNorms { key, one, other }),
        None => Ok(Some(one)),
    }
}

/// A softmax anywhere is that of the heads; a sigmoid may be the classification guide's.
fn activation_in(descriptions: impl Iterator<Item = String>) -> Option<Activation> {
    let mut found = None;
    for text in descriptions {
        if text.contains("softmax") {
            return Some(Activation::Softmax);
        }
        if text.contains("sigmoid") {
            found = Some(Activation::Sigmoid);
        }
    }
    found
}
