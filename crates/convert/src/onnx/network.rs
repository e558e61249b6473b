//! The network's graph as an ONNX graph.

use candle_core::{Result, bail};
use unet3p_core::graph::{Conv, Graph, Node, NodeId, Op, remove_dropout};
use unet3p_models::{Activation, Architecture, CgmGate, UNet3PlusConfig};

use super::OnnxOptions;
use super::graph::{Builder, Name, integer};
use super::proto::FLOAT;

/// What the graph gives: a name, the number of channels, whether it is a map, and its meaning.
pub(super) struct Output {
    pub(super) name: Name,
    pub(super) channels: usize,
    pub(super) is_map: bool,
    pub(super) meaning: String,
}

/// Adds the whole network, and tells its outputs.
pub(super) fn build(
    builder: &mut Builder,
    architecture: &Architecture,
    config: &UNet3PlusConfig,
    options: &OnnxOptions,
) -> Result<Vec<Output>> {
    let Architecture { mut graph, logits, presence, .. } = architecture.clone();
    remove_dropout(&mut graph);
    let heads = if options.all_heads { logits.len() } else { 1 };
    let wanted: Vec<NodeId> = logits[..heads].iter().copied().chain(presence).collect();
    let names = lower(builder, &graph, &wanted)?;

    let presence = presence.map(|presence| presence_of(builder, &names[presence.index()]));
    let mut outputs = Vec::new();
    for (i, logits) in logits[..heads].iter().enumerate() {
        let logits = &names[logits.index()];
        let number = if i == 0 { String::new() } else { format!("_{}", i + 1) };
        let meaning = |what: &str| format!("{what} of head {} [batch, classes, height, width]", i + 1);
        let (name, meaning) = if options.logits {
            let name = builder.node("Identity", &format!("logits{number}"), &[logits], Vec::new());
            (name, meaning("logits, without the gate of the classification-guided module,"))
        } else {
            let gate = presence.as_ref().map(|presence| presence.gate.as_str());
            (activated(builder, config, logits, gate, &number), meaning("probabilities"))
        };
        outputs.push(Output { name, channels: config.num_classes, is_map: true, meaning });
    }
    if let Some(Presence { logits, .. }) = presence {
        let (op, name) =
            if options.logits { ("Identity", "presence_logits") } else { ("Sigmoid", "presence") };
        let meaning = "[batch, 2] = [absent, present] of the classification-guided module".to_owned();
        let name = builder.node(op, name, &[&logits], Vec::new());
        outputs.push(Output { name, channels: 2, is_map: false, meaning });
    }
    Ok(outputs)
}

/// Adds the nodes that are needed for `wanted`, and gives the names of their values.
fn lower(builder: &mut Builder, graph: &Graph, wanted: &[NodeId]) -> Result<Vec<Name>> {
    let needed = graph.needed(wanted);
    let mut names = vec![Name::new(); graph.len()];
    for (id, node) in graph.nodes().filter(|(id, _)| needed[id.index()]) {
        let Node { name, op, inputs, .. } = node;
        let inputs: Vec<&str> = inputs.iter().map(|input| names[input.index()].as_str()).collect();
        names[id.index()] = match (op, &inputs[..]) {
            (Op::Input, _) => name.clone(),
            (Op::Conv(conv @ Conv { upsample: 1, .. }), [x]) => builder.layer(name, conv, x)?,
            (Op::MaxPool(window), [x]) => builder.max_pool(name, x, *window),
            (Op::Upsample(scale), [x]) => builder.upsample(name, x, *scale),
            (Op::Concat, all) => builder.node("Concat", name, all, vec![integer("axis", 1)]),
            (Op::AddRelu, both) => {
                let sum = builder.node("Add", name, both, Vec::new());
                builder.node("Relu", &format!("{name}.relu"), &[&sum], Vec::new())
            }
            (Op::GlobalMaxPool, [x]) => builder.node("GlobalMaxPool", name, &[x], Vec::new()),
            (op, inputs) => bail!("{name}: no ONNX for {op:?} of {} inputs", inputs.len()),
        };
    }
    Ok(names)
}

/// What the classification-guided module says.
struct Presence {
    /// `[batch, 2]`.
    logits: Name,
    /// `[batch, 1, 1, 1]` of 0 and 1.
    gate: Name,
}

/// From scores `[batch, 2, 1, 1]`: the gate is open where present exceeds absent.
fn presence_of(builder: &mut Builder, scores: &str) -> Presence {
    let logits = builder.node("Flatten", "cgm.logits", &[scores], vec![integer("axis", 1)]);
    let mut class = |name: &str, index: i64| {
        let index = builder.integers(&format!("cgm.{name}.index"), &[index]);
        builder.node("Gather", &format!("cgm.{name}"), &[scores, &index], vec![integer("axis", 1)])
    };
    let (absent, present) = (class("absent", 0), class("present", 1));
    let is_open = builder.node("Greater", "cgm.is_open", &[&present, &absent], Vec::new());
    let gate = builder.node("Cast", "cgm.gate", &[&is_open], vec![integer("to", i64::from(FLOAT))]);
    Presence { logits, gate }
}

/// Probabilities from logits, with the gate on its side of the activation.
fn activated(
    builder: &mut Builder,
    config: &UNet3PlusConfig,
    logits: &str,
    gate: Option<&str>,
    number: &str,
) -> Name {
    let name = format!("probabilities{number}");
    let activate = |builder: &mut Builder, name: &str, x: &str| match config.activation {
        Activation::Sigmoid => builder.node("Sigmoid", name, &[x], Vec::new()),
        Activation::Softmax => builder.node("Softmax", name, &[x], vec![integer("axis", 1)]),
    };
    match (gate, config.cgm_gate) {
        (None, _) => activate(builder, &name, logits),
        (Some(gate), CgmGate::Logits) => {
            let gated = builder.node("Mul", &format!("gated{number}"), &[logits, gate], Vec::new());
            activate(builder, &name, &gated)
        }
        (Some(gate), CgmGate::Probabilities) => {
            let open = activate(builder, &format!("ungated{number}"), logits);
            builder.node("Mul", &name, &[&open, gate], Vec::new())
        }
    }
}
