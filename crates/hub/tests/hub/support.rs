//! A model to serve, and a cache to pull it into.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use unet3p_hub::{Hub, HubError};
use unet3p_models::{UNet3Plus, UNet3PlusConfig};

use crate::server::{Repo, Request, Server};

pub(crate) const ID: &str = "acme/tiny";
pub(crate) const WEIGHTS: &str = "model.safetensors";

/// A model's files, and some that are none of ours.
pub(crate) fn repo() -> Repo {
    let folder = tempfile::tempdir().unwrap();
    let config = UNet3PlusConfig::builder().base_filters(2).build().unwrap();
    let model = UNet3Plus::init(&config, 1, DType::F32, &Device::Cpu).unwrap();
    model.save(folder.path(), DType::F32).unwrap();
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    Repo::new(
        ID,
        [
            ("config.json", read("config.json")),
            (WEIGHTS, read(WEIGHTS)),
            ("preprocessor_config.json", b"{}".to_vec()),
            ("README.md", b"---\n---\n".to_vec()),
            ("pytorch_model.bin", b"a pickle".to_vec()),
            (".gitattributes", Vec::new()),
        ],
    )
}

/// A cache and a Hub.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) hub: Hub,
}

impl Place {
    pub(crate) fn new(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::new(folder.path().join("cache")).with_endpoint(server.url());
        Self { folder, hub }
    }

    pub(crate) fn pull(&self) -> Result<PathBuf, HubError> {
        self.pull_id(ID)
    }

    pub(crate) fn pull_id(&self, id: &str) -> Result<PathBuf, HubError> {
        self.hub.pull(&id.parse().unwrap(), &mut |_| {})
    }

    /// The model's folder in the cache.
    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache/models--acme--tiny")
    }

    /// All files of the model in the cache, but for locks.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.cache(), &self.cache(), &mut found);
        found.sort();
        found
    }
}

fn list(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => list(root, &path, found),
            false => found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_string()),
        }
    }
}

#[track_caller]
pub(crate) fn assert_says(error: &HubError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

pub(crate) fn paths(requests: &[Request]) -> Vec<&str> {
    requests.iter().map(|request| request.path.as_str()).collect()
}
