//! The files of a model folder, and how each is checked.

use std::path::Path;

use unet3p_models::check_safetensors;

/// A file of a model folder.
pub(crate) struct HubFile {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    /// What is wrong with the file at a path.
    pub(crate) check: fn(&Path) -> Result<(), String>,
}

/// All that is fetched of a repository. The weights come last: where they are, everything is.
pub(crate) const FILES: [HubFile; 4] = [
    HubFile { name: "config.json", required: true, check: check_json },
    HubFile { name: "preprocessor_config.json", required: false, check: check_json },
    HubFile { name: "README.md", required: false, check: |_| Ok(()) },
    HubFile {
        name: "model.safetensors",
        required: true,
        check: |path| {
            check_safetensors(path).map_err(|error| match error {
                // Who asks names the file.
                unet3p_models::Error::File { source, .. } => source.to_string(),
                error => error.to_string(),
            })
        },
    },
];

fn check_json(path: &Path) -> Result<(), String> {
    let text = unet3p_files::read_text(path).map_err(|error| error.to_string())?;
    let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&text);
    object.map(|_| ()).map_err(|error| format!("not a JSON object: {error}"))
}
