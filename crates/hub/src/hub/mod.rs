//! Models of the Hugging Face Hub: from an id to a model folder in the cache.
//!
//! [`Hub::pull`] asks the Hub for the revision's commit, fetches what the cache lacks, checks it, and gives the folder.
//! The cache is the one of Python's huggingface_hub, in its layout: what one has fetched, the other finds. The layout
//! is hf-hub's; its downloads are not used, for they send the token along to where a redirect leads and do not check
//! what arrives.

mod address;
mod cache;
mod client;
mod digest;
mod download;
mod error;
mod id;
mod settings;

use std::path::{Path, PathBuf};

pub use error::HubError;
pub use id::ModelId;
pub use settings::{DEFAULT_ENDPOINT, Hub};

use cache::{ModelCache, remove};
use client::Client;
use unet3p_models::check_safetensors;

/// How far the download of one file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file's name.
    pub file: &'a str,
    /// Bytes that have arrived, in earlier tries too.
    pub done: u64,
    /// Bytes of the file.
    pub total: u64,
}

/// A file of a model folder.
struct HubFile {
    name: &'static str,
    required: bool,
    /// What is wrong with the file at a path.
    check: fn(&Path) -> Result<(), String>,
}

/// All that is fetched of a repository. The weights come last: where they are, everything is.
const FILES: [HubFile; 4] = [
    HubFile { name: "config.json", required: true, check: check_json },
    HubFile { name: "preprocessor_config.json", required: false, check: check_json },
    HubFile { name: "README.md", required: false, check: |_| Ok(()) },
    HubFile {
        name: "model.safetensors",
        required: true,
        check: |path| check_safetensors(path).map_err(|error| error.to_string()),
    },
];

fn check_json(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&text);
    object.map(|_| ()).map_err(|error| format!("not a JSON object: {error}"))
}

impl Hub {
    /// The folder in the cache that holds the model, after fetching what is missing or has changed. `progress` is
    /// called often while a file arrives.
    ///
    /// Of a repository only `config.json`, `model.safetensors`, `preprocessor_config.json` and `README.md` are fetched.
    /// Faults that may pass (429, 5xx, cut connections) are retried three times; a file goes on where it was
    /// cut, also in a later call. Sizes, JSON, the weights' header and, of large files, the SHA-256 are checked before a
    /// file gets its name, and a damaged one is removed. Where the Hub cannot be reached and the cache has the model, a warning is logged and
    /// the cache serves.
    ///
    /// # Errors
    /// [`HubError`]: no such model, no right to read it, no connection and nothing in the cache, a damaged file, a full
    /// disk.
    ///
    /// ```no_run
    /// use unet3p_hub::Hub;
    ///
    /// let id = "acme/liver-ct@v1".parse()?;
    /// let folder = Hub::from_env().pull(&id, &mut |p| eprintln!("{}: {} of {}", p.file, p.done, p.total))?;
    /// println!("{}", folder.display());
    /// # Ok::<(), unet3p_hub::HubError>(())
    /// ```
    pub fn pull(&self, id: &ModelId, progress: &mut dyn FnMut(Progress<'_>)) -> Result<PathBuf, HubError> {
        let root = self.cache.as_ref().ok_or(HubError::NoCache)?;
        let cache = ModelCache::new(root, id);
        if self.offline {
            return cache.complete().map_err(|file| HubError::NotCached {
                id: id.clone(),
                file,
                cache: root.clone(),
            });
        }
        match (self.fetch(id, &cache, progress), cache.complete()) {
            (Err(error), Ok(folder)) if error.is_outage() => {
                log::warn!("{error}; taken from the cache");
                Ok(folder)
            }
            (fetched, _) => fetched,
        }
    }

    /// Brings the cache up to date.
    fn fetch(
        &self,
        id: &ModelId,
        cache: &ModelCache,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf, HubError> {
        let client = Client::new(self, id)?;
        let info = client.info()?;
        if let Some(file) = FILES.iter().find(|file| file.required && !info.has(file.name)) {
            return Err(HubError::NotAModel { id: id.clone(), file: file.name });
        }
        let folder = cache.snapshot(&info.sha);
        for file in FILES.iter().filter(|file| info.has(file.name)) {
            let path = folder.join(file.name);
            if path.exists() {
                match (file.check)(&path) {
                    Ok(()) => continue,
                    Err(problem) => log::warn!("{problem}; fetched again"),
                }
                cache.discard(&info.sha, file.name)?;
            }
            fetch_file(&client, cache, &info.sha, file, progress)?;
        }
        cache.set_commit(&info.sha)?;
        Ok(folder)
    }
}

/// Brings one file of a commit into the cache.
fn fetch_file(
    client: &Client<'_>,
    cache: &ModelCache,
    commit: &str,
    file: &HubFile,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), HubError> {
    let remote = client.remote(commit, file.name)?;
    let blob = cache.blob(&remote.etag)?;
    let _lock = cache.lock(&remote.etag)?;
    let is_whole = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.len() == remote.size);
    if !(is_whole(&blob) && (file.check)(&blob).is_ok()) {
        // The name under which huggingface_hub leaves, and goes on with, a part.
        let part = blob.with_file_name(format!("{}.incomplete", remote.etag));
        let arrived = download::download(client, file, &remote, &part, progress)
            .and_then(|()| (file.check)(&part).map_err(|problem| client.damaged(file, problem)))
            .and_then(|()| match digest::has_content(&part, &remote.etag) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    Err(client.damaged(file, "its SHA-256 is not the one that the Hub tells".into()))
                }
                Err(cause) => Err(HubError::io(&part, cause)),
            });
        if let Err(error) = arrived {
            if matches!(error, HubError::Damaged { .. }) {
                remove(&part)?;
            }
            return Err(error);
        }
        std::fs::rename(&part, &blob).map_err(|cause| HubError::io(&blob, cause))?;
    }
    cache.link(&remote.etag, commit, file.name)
}
