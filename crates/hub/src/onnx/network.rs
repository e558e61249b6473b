//! The network as a graph.

use candle_core::Result;
use unet3p_core::ConvBlock;
use unet3p_models::{Activation, CgmGate, Stage, UNet3PlusConfig};

use super::OnnxOptions;
use super::graph::{Builder, Name, Window, integer};
use super::proto::FLOAT;

/// The name of the image that the graph takes.
pub(super) const INPUT: &str = "image";

/// Convolution 3x3 that keeps the size.
const SAME: Window = Window { side: 3, stride: 1, padding: 1 };
/// Pooling behind the stem of a residual network.
const STEM_POOLING: Window = Window { side: 3, stride: 2, padding: 1 };

fn halves(times: usize) -> Window {
    Window { side: 1 << times, stride: 1 << times, padding: 0 }
}

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
    config: &UNet3PlusConfig,
    options: &OnnxOptions,
) -> Result<Vec<Output>> {
    let mut scales = encoder(builder, config)?;
    let levels = scales.len();
    let mut outputs = Vec::new();
    let presence =
        if config.variant.has_cgm() { Some(presence(builder, &scales[levels - 1])?) } else { None };

    for node in (1..levels).rev() {
        let part = format!("decoder.{node}");
        let mut branches = Vec::new();
        for (source, x) in (1..).zip(&scales) {
            let branch = format!("{part}.branch{source}");
            let x = match source {
                _ if source < node => builder.max_pool(&format!("{branch}.pool"), x, halves(node - source)),
                _ if source > node => {
                    builder.upsample(&format!("{branch}.upsample"), x, 1 << (source - node))
                }
                _ => x.clone(),
            };
            branches.push(builder.layer(
                &format!("{branch}.conv"),
                &format!("{branch}.bn"),
                &x,
                SAME,
                true,
            )?);
        }
        let branches: Vec<&str> = branches.iter().map(String::as_str).collect();
        let joined = builder.node("Concat", &format!("{part}.concat"), &branches, vec![integer("axis", 1)]);
        let fuse = [format!("{part}.fuse.conv"), format!("{part}.fuse.bn")];
        scales[node - 1] = builder.layer(&fuse[0], &fuse[1], &joined, SAME, true)?;
    }

    let heads = match (options.all_heads, config.variant.has_deep_supervision()) {
        (true, true) => levels,
        _ => 1,
    };
    for (i, features) in scales.iter().take(heads).enumerate() {
        let mut logits = builder.conv(&format!("head.{}", i + 1), features, SAME)?;
        let scale = config.encoder.stride() << i;
        if scale > 1 {
            logits = builder.upsample(&format!("head.{}.upsample", i + 1), &logits, scale);
        }
        let number = if i == 0 { String::new() } else { format!("_{}", i + 1) };
        let meaning = |what: &str| format!("{what} of head {} [batch, classes, height, width]", i + 1);
        let (name, meaning) = if options.logits {
            let name = builder.node("Identity", &format!("logits{number}"), &[&logits], Vec::new());
            (name, meaning("logits, without the gate of the classification-guided module,"))
        } else {
            let gate = presence.as_ref().map(|presence| presence.gate.as_str());
            (activated(builder, config, &logits, gate, &number), meaning("probabilities"))
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

/// The maps of the five scales.
fn encoder(builder: &mut Builder, config: &UNet3PlusConfig) -> Result<Vec<Name>> {
    let mut scales: Vec<Name> = Vec::new();
    for (level, stage) in (1..).zip(config.encoder.stages(config.in_channels, config.filters)) {
        let part = format!("encoder.{level}");
        let mut x = scales.last().cloned().unwrap_or_else(|| INPUT.to_owned());
        match stage {
            Stage::Convolutions { count, .. } => {
                if level > 1 {
                    x = builder.max_pool(&format!("{part}.pool"), &x, halves(1));
                }
                for names in ConvBlock::names(count) {
                    let names = names.map(|name| format!("{part}.{name}"));
                    x = builder.layer(&names[0], &names[1], &x, SAME, true)?;
                }
            }
            Stage::Stem { .. } => {
                let window = Window { side: 7, stride: 2, padding: 3 };
                x = builder.layer(&format!("{part}.conv"), &format!("{part}.bn"), &x, window, true)?;
            }
            Stage::Residual { blocks, pooled } => {
                if pooled {
                    x = builder.max_pool(&format!("{part}.pool"), &x, STEM_POOLING);
                }
                for (k, shape) in (1..).zip(blocks) {
                    let block = format!("{part}.block{k}");
                    let last = shape.convolutions().len() - 1;
                    let (mut y, mut shortcut) = (x.clone(), x.clone());
                    for (i, ([conv, bn], [_, _, side, stride])) in
                        shape.named_convolutions().into_iter().enumerate()
                    {
                        let names = [conv, bn].map(|name| format!("{block}.{name}"));
                        let window = Window { side, stride, padding: side / 2 };
                        // behind the block's own convolutions comes the shortcut's
                        let to = if i > last { &mut shortcut } else { &mut y };
                        *to = builder.layer(&names[0], &names[1], &to.clone(), window, i < last)?;
                    }
                    let sum = builder.node("Add", &format!("{block}.sum"), &[&y, &shortcut], Vec::new());
                    x = builder.node("Relu", &format!("{block}.relu"), &[&sum], Vec::new());
                }
            }
        }
        scales.push(x);
    }
    Ok(scales)
}

/// What the classification-guided module says.
struct Presence {
    /// `[batch, 2]`.
    logits: Name,
    /// `[batch, 1, 1, 1]` of 0 and 1.
    gate: Name,
}

/// A 1x1 convolution of E5 and its largest value; the gate is open where present exceeds absent.
fn presence(builder: &mut Builder, deepest: &str) -> Result<Presence> {
    let map = builder.conv("cgm", deepest, Window { side: 1, stride: 1, padding: 0 })?;
    let largest = builder.node("GlobalMaxPool", "cgm.max", &[&map], Vec::new());
    let logits = builder.node("Flatten", "cgm.logits", &[&largest], vec![integer("axis", 1)]);
    let mut class = |name: &str, index: i64| {
        let index = builder.integers(&format!("cgm.{name}.index"), &[index]);
        builder.node("Gather", &format!("cgm.{name}"), &[&largest, &index], vec![integer("axis", 1)])
    };
    let (absent, present) = (class("absent", 0), class("present", 1));
    let is_open = builder.node("Greater", "cgm.is_open", &[&present, &absent], Vec::new());
    let gate = builder.node("Cast", "cgm.gate", &[&is_open], vec![integer("to", i64::from(FLOAT))]);
    Ok(Presence { logits, gate })
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
