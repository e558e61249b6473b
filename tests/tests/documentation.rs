//! The documentation says what the code does: keys, defaults and allowed values in its tables, and the files, tests
//! and constants that it names. (Its Rust snippets are doc-tests of this crate.)
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use unet3p_data::{MaskColors, MaskName, MaskValues, Preprocessor};
use unet3p_losses::LossConfig;
use unet3p_models::UNet3PlusConfig;
use unet3p_train::{
    DataConfig, Decay, ModelConfig, ObjectiveConfig, OptimizationConfig, OptimizerConfig, TrainConfig,
};

const PAGES: [&str; 11] = [
    "docs/architecture.md",
    "docs/configuration.md",
    "docs/convert.md",
    "docs/encoders.md",
    "docs/gpu.md",
    "docs/guide.md",
    "docs/hub.md",
    "docs/onnx.md",
    "docs/performance.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The rows of all tables of a page, cell by cell.
fn rows(page: &str) -> Vec<Vec<String>> {
    let lines = page.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    lines.map(|line| line.split('|').map(|cell| cell.trim().to_string()).collect()).collect()
}

/// The texts in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The row that begins with these cells, each in backticks.
#[track_caller]
fn row<'a>(rows: &'a [Vec<String>], cells: &[&str]) -> &'a [String] {
    let begins = |row: &&Vec<String>| {
        row.len() > cells.len() && row.iter().zip(cells).all(|(cell, name)| *cell == format!("`{name}`"))
    };
    rows.iter().find(begins).unwrap_or_else(|| panic!("no row of a table begins with {cells:?}"))
}

/// Compares a default in backticks with the code's.
#[track_caller]
fn assert_default(key: &str, cell: &str, default: &Value) {
    let shown =
        quoted(cell).first().copied().unwrap_or_else(|| panic!("{key}: the default {cell} in backticks"));
    let shown: Value = serde_json::from_str(shown).unwrap_or_else(|e| panic!("{key}: {shown}: {e}"));
    let same = match (shown.as_f64(), default.as_f64()) {
        (Some(shown), Some(default)) => shown == default,
        _ => shown == *default,
    };
    assert!(same, "{key}: the default is {default}, the documentation says {shown}");
}

/// The values of a configuration by their dotted keys. Empty tables, lists and the tables in `whole` are values.
fn leaves(value: &Value, key: &str, whole: &[&str], found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(table) if !table.is_empty() && !whole.contains(&key) => {
            for (name, value) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                leaves(value, &key, whole, found);
            }
        }
        value => {
            found.insert(key.to_string(), value.clone());
        }
    }
}

/// The names that a key allows, told by the error for a name that is none; nothing where any text is allowed.
fn allowed<T: Debug>(parsed: Result<T, serde_json::Error>) -> Vec<String> {
    let Err(error) = parsed else { return Vec::new() };
    let text = error.to_string();
    let expected = text.split_once("expected").map_or("", |(_, expected)| expected);
    quoted(expected).into_iter().map(String::from).collect()
}

/// Checks the table of a configuration: a row for each key of `all`, with its default where `default` has one, and
/// the names that `parse` allows. Returns the keys.
#[track_caller]
fn check<T: Debug>(
    rows: &[Vec<String>],
    all: &Value,
    default: &Value,
    whole: &[&str],
    parse: fn(Value) -> Result<T, serde_json::Error>,
) -> BTreeSet<String> {
    let (mut keys, mut defaults) = (BTreeMap::new(), BTreeMap::new());
    leaves(all, "", whole, &mut keys);
    leaves(default, "", whole, &mut defaults);
    for (key, value) in &keys {
        let row = row(rows, &[key]);
        match defaults.get(key) {
            Some(default) if !whole.contains(&key.as_str()) => assert_default(key, &row[1], default),
            Some(_) => {}
            None => assert!(!row[1].starts_with('`') && !row[1].is_empty(), "{key} has no default value"),
        }
        if value.is_string() {
            let mut wrong = all.clone();
            *wrong.pointer_mut(&format!("/{}", key.replace('.', "/"))).unwrap() = json!("?");
            for name in allowed(parse(wrong)) {
                assert!(row[2].contains(&format!("`\"{name}\"`")), "{key} allows {name}");
            }
        }
    }
    keys.into_keys().collect()
}

/// A configuration with a value for every key, also for those that are left out by default. The fields are spelt
/// out, so that a new one does not compile here before it is thought of.
fn complete() -> TrainConfig {
    let TrainConfig { augmentation, log, .. } = TrainConfig::default();
    let model = ModelConfig {
        num_classes: Some(1),
        filters: Some(vec![1; 5]),
        init_from: Some("a".into()),
        encoder_weights: Some("a".into()),
        ..ModelConfig::default()
    };
    let DataConfig { paths, shuffle, prefetch, .. } = DataConfig::default();
    let data = DataConfig {
        paths,
        mask_name: Some(MaskName::try_from("{name}".to_string()).unwrap()),
        mask_values: Some(MaskValues::default()),
        mask_colors: Some(MaskColors::default()),
        ignore_label: Some(255),
        resize: Some([16, 16]),
        image_mean: Some(vec![0.5]),
        image_std: Some(vec![0.5]),
        validation_groups: Some(vec!["a".into()]),
        validation_fraction: Some(0.5),
        crop: Some([16, 16]),
        foreground_share: Some(0.5),
        shuffle,
        workers: Some(2),
        prefetch,
    };
    let train = OptimizationConfig { epochs: Some(1), steps: Some(1), ..OptimizationConfig::default() };
    let loss = ObjectiveConfig { heads: vec![1.0], ..ObjectiveConfig::default() };
    TrainConfig { data, model, train, loss, augmentation, log }
}

/// Keys whose values are a choice with parameters, each documented in a table of its own.
const CHOICES: [&str; 3] = ["loss.segmentation", "train.optimizer", "train.schedule"];

#[test]
fn every_key_of_the_training_configuration_is_documented() {
    let rows = rows(&page("docs/configuration.md"));
    let (all, default) = (json!(complete()), json!(TrainConfig::default()));
    let keys = check(&rows, &all, &default, &CHOICES, serde_json::from_value::<TrainConfig>);
    assert!(keys.len() > 50, "{}", keys.len());
    let tables = ["data.", "model.", "train.", "loss.", "augmentation.", "log."];
    for first in rows.iter().filter_map(|row| row.first()) {
        let key = first.trim_matches('`');
        let is_key = tables.iter().any(|table| key.starts_with(table));
        assert!(!is_key || keys.contains(key), "{key} is documented and is no key");
    }
    for key in CHOICES {
        let name = default.pointer(&format!("/{}/name", key.replace('.', "/"))).unwrap();
        assert_eq!(row(&rows, &[key])[1], format!("`{name}`"));
    }
}

/// Checks the table of a choice that is made by name: a row for each parameter of each name, or one for the name.
/// Returns the names.
fn check_choice<T: Debug + Serialize + DeserializeOwned>(
    rows: &[Vec<String>],
    parse: fn(Value) -> Result<T, serde_json::Error>,
) -> Vec<String> {
    let names = allowed(parse(json!({ "name": "?" })));
    for name in &names {
        let default = json!(parse(json!({ "name": name })).unwrap());
        let parameters: BTreeMap<_, _> =
            default.as_object().unwrap().iter().filter(|(key, _)| *key != "name").collect();
        if parameters.is_empty() {
            row(rows, &[name]);
        }
        for (&parameter, &value) in &parameters {
            let row = row(rows, &[name, parameter]);
            let key = format!("{name}.{parameter}");
            assert_default(&key, &row[2], value);
            if value.is_string() {
                for value in allowed(parse(json!({ "name": name, parameter: "?" }))) {
                    assert!(row[3].contains(&format!("`\"{value}\"`")), "{key} allows {value}");
                }
            }
        }
        let documented = rows.iter().filter(|row| row[0] == format!("`{name}`")).count();
        assert_eq!(documented, parameters.len().max(1), "{name} has parameters that do not exist");
    }
    names
}

#[test]
fn every_choice_by_name_is_documented() {
    let rows = rows(&page("docs/configuration.md"));
    assert!(check_choice(&rows, serde_json::from_value::<LossConfig>).len() > 10);
    assert_eq!(check_choice(&rows, serde_json::from_value::<OptimizerConfig>).len(), 3);
    assert_eq!(check_choice(&rows, serde_json::from_value::<Decay>).len(), 5);
}

#[test]
fn every_key_of_a_model_folder_is_documented() {
    let guide = page("docs/guide.md");
    let section = |title: &str| {
        let (_, text) = guide.split_once(&format!("\n### {title}\n")).unwrap();
        rows(text.split("\n## ").next().unwrap().split("\n### ").next().unwrap())
    };
    for (title, all, keys) in [
        ("config.json", json!(UNet3PlusConfig::default()), {
            let default = json!(UNet3PlusConfig::default());
            check(&section("config.json"), &default, &default, &[], serde_json::from_value::<UNet3PlusConfig>)
        }),
        ("preprocessor_config.json", json!(Preprocessor::for_numbered_channels(1)), {
            // Names of channels are left out by default.
            let (all, default) =
                (json!(Preprocessor::for_numbered_channels(1)), json!(Preprocessor::default()));
            let rows = section("preprocessor_config.json");
            check(&rows, &all, &default, &[], serde_json::from_value::<Preprocessor>)
        }),
    ] {
        assert_eq!(keys.len(), all.as_object().unwrap().len(), "{title}");
        // The heading and the line below it are rows as well.
        assert_eq!(section(title).len(), keys.len() + 2, "{title} documents keys that do not exist");
    }
}

#[test]
fn what_the_pages_name_exists() {
    let mut named = 0;
    for name in PAGES {
        let text = page(name);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, _) = target.split_once('#').unwrap_or((target, ""));
            if !file.is_empty() && !file.contains("://") {
                let path = root().join(name).parent().unwrap().join(file);
                assert!(path.exists(), "{name} links to {target}");
            }
        }
        // The end of a fence would count as a quotation's.
        let prose: String = text.split("```").step_by(2).collect();
        for quotation in quoted(&prose) {
            let (file, item) = quotation.split_once("::").unwrap_or((quotation, ""));
            let folders = ["crates/", "tests/", "scripts/", "docs/"];
            let is_path = folders.iter().any(|folder| file.starts_with(folder));
            if !is_path || file.contains([' ', '*', '<', '{']) {
                continue;
            }
            let path = root().join(file);
            assert!(path.exists(), "{name} names {quotation}");
            if !item.is_empty() {
                let source = std::fs::read_to_string(&path).unwrap();
                let definitions = [format!("fn {item}("), format!("fn {item}<"), format!("const {item}:")];
                assert!(definitions.iter().any(|d| source.contains(d)), "{name} names {quotation}");
                named += 1;
            }
        }
    }
    assert!(named > 20, "{named}");
}
