//! What a checkpoint does not tell of the configuration: said by the user, or assumed.

use std::path::Path;

use serde_json::{Map, Value};
use unet3p_files::read_text;
use unet3p_models::UNet3PlusConfig;

use crate::source::Told;
use crate::{ConvertOptions, Error};

/// A value that nobody has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assumption {
    /// The key of `config.json`, or the name of another file of the model folder.
    pub key: &'static str,
    /// The value taken.
    pub value: String,
    /// Why this one.
    pub reason: &'static str,
}

/// The configuration with what the checkpoint tells besides its shapes and what the `options` say, and what remains
/// assumed of it.
pub(crate) fn complete(
    mut config: UNet3PlusConfig,
    told: &Told,
    source: &Path,
    options: &ConvertOptions,
) -> Result<(UNet3PlusConfig, Vec<Assumption>), Error> {
    let said = options.config.as_deref().map(read).transpose()?.unwrap_or_default();
    let activation_said = options.activation.is_some() || said.contains_key("activation");
    let mut assumed = Vec::new();
    let mut assume = |key, value: &dyn ToString, reason| {
        if !said.contains_key(key) {
            assumed.push(Assumption { key, value: value.to_string(), reason });
        }
    };
    match told {
        Told::Everything(_) => {}
        Told::Nothing => {
            if !activation_said {
                assume("activation", &"sigmoid", "the authors' code has it");
            }
            assume("batch_norm_eps", &config.batch_norm_eps, "it is PyTorch's default");
        }
        Told::Keras(settings) => {
            config.batch_norm_eps = settings.batch_norm_eps;
            config.batch_norm_momentum = settings.batch_norm_momentum;
            match settings.activation {
                Some(activation) => config.activation = activation,
                _ if activation_said => {}
                // A softmax over one class would be 1 everywhere.
                None if config.num_classes == 1 => {
                    assume("activation", &"sigmoid", "there is one class");
                }
                None => return Err(Error::Activation { path: source.to_owned() }),
            }
            if !settings.batch_norm_told {
                assume("batch_norm_eps", &config.batch_norm_eps, "it is Keras's default");
            }
        }
    }
    if config.variant.has_cgm() && !matches!(told, Told::Everything(_)) {
        assume("cgm_gate", &"logits", "the authors' code has it");
    }
    if let Some(path) = &options.config {
        config = with(&config, said)
            .map_err(|problem| Error::Config { path: path.clone(), problem: problem.to_string() })?;
    }
    if let Some(activation) = options.activation {
        config.activation = activation;
    }
    Ok((config, assumed))
}

/// Images are taken as they are, over 255.
pub(crate) fn preprocessing() -> Assumption {
    Assumption {
        key: "preprocessor_config.json",
        value: "values over 255, without mean, window and size".into(),
        reason: "no checkpoint tells how images were prepared",
    }
}

/// The keys that a file has.
fn read(path: &Path) -> Result<Map<String, Value>, Error> {
    let text = read_text(path).map_err(|cause| Error::io(path, cause))?;
    serde_json::from_str(&text).map_err(|error| Error::Config {
        path: path.to_owned(),
        problem: format!("no JSON object with keys of config.json: {error}"),
    })
}

fn with(config: &UNet3PlusConfig, said: Map<String, Value>) -> unet3p_models::Result<UNet3PlusConfig> {
    let mut keys: Map<String, Value> = serde_json::from_str(&config.to_json()?)?;
    keys.extend(said);
    UNet3PlusConfig::from_json_of(&serde_json::to_string(&keys)?, "--config")
}
