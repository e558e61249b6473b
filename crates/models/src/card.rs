//! The model card of a model folder: what people and the Hugging Face Hub read about it.

use std::fs;
use std::path::Path;

use crate::config::{UNet3PlusConfig, Variant};
use crate::error::{Error, Result};
use crate::folder::write;

/// Tags of every card.
const TAGS: [&str; 3] = ["unet3plus", "image-segmentation", "medical-imaging"];

/// What a model card tells beside what the configuration does.
///
/// ```
/// use unet3p_models::{CardResult, ModelCard, UNet3PlusConfig};
///
/// let card = ModelCard {
///     license: Some("mit".into()),
///     tags: vec!["ct".into()],
///     results: vec![CardResult { dataset: "LiTS: test".into(), metric: "Dice".into(), value: 0.95 }],
///     summary: "Outlines the liver. Not for clinical use.".into(),
///     body: "## Data\n\nLiTS, volumes 28 to 130.".into(),
///     ..ModelCard::default()
/// };
/// let text = card.text(&UNet3PlusConfig::default());
/// assert!(text.starts_with("---\nlibrary_name: unet3p\npipeline_tag: image-segmentation\nlicense: \"mit\"\n"));
/// assert!(text.contains("      name: \"LiTS: test\"\n"));
/// assert!(text.contains("\n# UNet 3+\n\nOutlines the liver."));
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelCard {
    /// The heading; without one, the name of the variant.
    pub title: Option<String>,
    /// The licence of the weights by its identifier on the Hub, such as `mit` or `cc-by-4.0`.
    pub license: Option<String>,
    /// Tags beside `unet3plus`, `image-segmentation` and `medical-imaging`.
    pub tags: Vec<String>,
    /// Figures that the Hub shows beside the card. Those that are no finite numbers are left out.
    pub results: Vec<CardResult>,
    /// What the model is, in Markdown. Stands between the heading and the table of the network.
    pub summary: String,
    /// Data, training, limits and so on, in Markdown. Stands below the table.
    pub body: String,
}

/// A figure of merit on a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct CardResult {
    /// The dataset's name.
    pub dataset: String,
    /// The metric's name.
    pub metric: String,
    /// Its value.
    pub value: f64,
}

impl ModelCard {
    /// The card's name in a model folder.
    pub const FILE_NAME: &'static str = "README.md";

    /// The card of a network: front matter for the Hub, heading, summary, a table of the network, the rest.
    pub fn text(&self, config: &UNet3PlusConfig) -> String {
        let title = self.heading(config);
        let mut text = self.front_matter(&title);
        text.push_str(&format!("\n# {title}\n\n"));
        if !self.summary.is_empty() {
            text.push_str(&format!("{}\n\n", self.summary.trim_end()));
        }
        text.push_str(&format!(
            "| | |\n\
             |---|---|\n\
             | encoder | {} |\n\
             | input channels | {} |\n\
             | classes | {} |\n\
             | filters | {:?} |\n\
             | parameters | {} |\n",
            config.encoder,
            config.in_channels,
            classes(config),
            config.filters,
            config.parameter_count(),
        ));
        if !self.body.is_empty() {
            text.push_str(&format!("\n{}\n", self.body.trim_end()));
        }
        text
    }

    /// Writes `README.md` into a model folder, over one that is there.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>, config: &UNet3PlusConfig) -> Result<()> {
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_path_buf(), source })?;
        write(&folder.join(Self::FILE_NAME), self.text(config).as_bytes())
    }

    fn heading(&self, config: &UNet3PlusConfig) -> String {
        let title = self.title.as_deref().unwrap_or(match config.variant {
            Variant::Base => "UNet 3+",
            Variant::DeepSupervision => "UNet 3+ with deep supervision",
            Variant::DeepSupervisionCgm => "UNet 3+ with deep supervision and classification guide",
        });
        title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// The YAML that the Hub reads.
    fn front_matter(&self, title: &str) -> String {
        let mut yaml = String::from("---\nlibrary_name: unet3p\npipeline_tag: image-segmentation\n");
        if let Some(license) = &self.license {
            yaml.push_str(&format!("license: {}\n", quoted(license)));
        }
        yaml.push_str("tags:\n");
        for tag in TAGS {
            yaml.push_str(&format!("- {tag}\n"));
        }
        for tag in &self.tags {
            yaml.push_str(&format!("- {}\n", quoted(tag)));
        }
        let results: Vec<_> = self.results.iter().filter(|result| result.value.is_finite()).collect();
        if !results.is_empty() {
            yaml.push_str(&format!("model-index:\n- name: {}\n  results:\n", quoted(title)));
        }
        for CardResult { dataset, metric, value } in results {
            yaml.push_str(&format!(
                "  - task:\n      type: image-segmentation\n    dataset:\n      name: {}\n      type: {}\n    \
                 metrics:\n    - name: {}\n      type: {}\n      value: {value:?}\n",
                quoted(dataset),
                quoted(&identifier(dataset)),
                quoted(metric),
                quoted(&identifier(metric)),
            ));
        }
        yaml + "---\n"
    }
}

/// Names of the classes, or how many there are.
fn classes(config: &UNet3PlusConfig) -> String {
    let names: Vec<_> = config.id2label.values().map(|name| code(name)).collect();
    if names.is_empty() { config.num_classes.to_string() } else { names.join(", ") }
}

/// A name as Markdown code inside a table.
fn code(name: &str) -> String {
    let plain = |c: char| if c.is_control() || matches!(c, '`' | '|') { '_' } else { c };
    format!("`{}`", name.chars().map(plain).collect::<String>())
}

/// A text as YAML in double quotes, in which nothing has a meaning but what is escaped.
fn quoted(text: &str) -> String {
    let mut yaml = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => yaml.extend(['\\', c]),
            // What YAML does not let stand, or takes for the end of a line.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                yaml.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => yaml.push(c),
        }
    }
    yaml + "\""
}

/// A name as the Hub's identifiers are written: `Surface Dice` as `surface-dice`.
fn identifier(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> ModelCard {
        ModelCard {
            title: Some("Liver: on CT".into()),
            license: Some("cc-by-4.0".into()),
            tags: vec!["ct".into(), "yes: \"no\"\n- injected".into()],
            results: vec![
                CardResult { dataset: "LiTS, test".into(), metric: "Surface Dice".into(), value: 1.0 },
                CardResult { dataset: "none".into(), metric: "HD95".into(), value: f64::INFINITY },
            ],
            summary: "What it is.".into(),
            body: "## Data\n\nSome.\n".into(),
        }
    }

    #[test]
    fn the_card_is_as_the_hub_reads_it() {
        let mut config = UNet3PlusConfig::default();
        config.id2label.insert(1, "liver | `left`".into());
        assert_eq!(
            card().text(&config),
            r#"---
library_name: unet3p
pipeline_tag: image-segmentation
license: "cc-by-4.0"
tags:
- unet3plus
- image-segmentation
- medical-imaging
- "ct"
- "yes: \"no\"\u000a- injected"
model-index:
- name: "Liver: on CT"
  results:
  - task:
      type: image-segmentation
    dataset:
      name: "LiTS, test"
      type: "lits-test"
    metrics:
    - name: "Surface Dice"
      type: "surface-dice"
      value: 1.0
---

# Liver: on CT

What it is.

| | |
|---|---|
| encoder | plain |
| input channels | 3 |
| classes | `liver _ _left_` |
| filters | [64, 128, 256, 512, 1024] |
| parameters | 26971777 |

## Data

Some.
"#
        );
    }

    #[test]
    fn nothing_that_is_said_ends_the_front_matter() {
        let hostile = "x\n---\r\u{85}\u{2028}\u{7f}\\\"".to_string();
        let card = ModelCard {
            title: Some(hostile.clone()),
            license: Some(hostile.clone()),
            tags: vec![hostile.clone()],
            results: vec![CardResult { dataset: hostile.clone(), metric: hostile, value: 0.5 }],
            ..ModelCard::default()
        };
        let text = card.text(&UNet3PlusConfig::default());
        assert_eq!(text.lines().filter(|line| *line == "---").count(), 2, "{text}");
        let odd = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}');
        let (front_matter, _) = text.split_once("\n# ").unwrap();
        assert!(!front_matter.contains(odd), "{front_matter:?}");
        assert_eq!(quoted("a\\b\"c\td\u{7f}"), r#""a\\b\"c\u0009d\u007f""#);
    }
}
