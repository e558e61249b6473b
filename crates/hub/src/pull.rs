//! From an id to a model folder in the cache.

use std::path::{Path, PathBuf};

use crate::cache::{Gap, ModelCache, remove};
use crate::client::Client;
use crate::download::{Progress, download};
use crate::files::{FILES, HubFile};
use crate::{Hub, HubError, ModelId, digest};

impl Hub {
    /// The folder in the cache that holds the model, after fetching what is missing or has changed. `progress` is
    /// called often while a file arrives.
    ///
    /// Of a repository only `config.json`, `model.safetensors`, `preprocessor_config.json` and `README.md` are fetched.
    /// Faults that may pass (429, 5xx, cut connections) are retried three times, or as often as [`Hub::with_retries`]
    /// says, and less than 1 kB a second over a minute is an error; a file goes on where it was
    /// cut, also in a later call. Sizes, JSON, the weights' header and, of large files, the SHA-256 are checked before a
    /// file gets its name, and a damaged one is removed. Where the Hub cannot be reached and the cache has the model, a
    /// warning is logged and the cache serves. What the cache serves is checked as well, but for sizes and SHA-256.
    ///
    /// # Errors
    /// [`HubError`]: no such model, no right to read it, no connection and nothing or something damaged in the
    /// cache, a damaged file, a full disk.
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
            return cache.complete().map_err(|gap| match gap {
                Gap::Missing(file) => HubError::NotCached { id: id.clone(), file, cache: root.clone() },
                Gap::Damaged { path, problem } => HubError::CacheDamaged { id: id.clone(), path, problem },
            });
        }
        let outage = match self.fetch(id, &cache, progress) {
            Err(error) if error.is_outage() => error,
            fetched => return fetched,
        };
        match cache.complete() {
            Ok(folder) => {
                log::warn!("{outage}; taken from the cache");
                Ok(folder)
            }
            Err(Gap::Missing(_)) => Err(outage),
            Err(Gap::Damaged { path, problem }) => {
                log::warn!("{outage}");
                Err(HubError::CacheDamaged { id: id.clone(), path, problem })
            }
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
                    Err(problem) => log::warn!("{}: {problem}; fetched again", path.display()),
                }
            }
            fetch_file(&client, cache, &info.sha, file, progress)?;
        }
        cache.set_commit(&info.sha)?;
        Ok(folder)
    }
}

/// Brings one file of a commit into the cache, in place of a damaged one.
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
    // Only now: another process may have brought it while this one waited. Nothing is removed beforehand, for what lies
    // there may be that process's; a damaged content is replaced in one step, and so is a link to it.
    let is_whole = |path: &Path| {
        path.metadata().is_ok_and(|metadata| metadata.len() == remote.size)
            && (file.check)(path).is_ok()
            && digest::has_content(path, &remote.etag).unwrap_or(false)
    };
    if !is_whole(&blob) {
        // The name under which huggingface_hub leaves, and goes on with, a part.
        let part = blob.with_file_name(format!("{}.incomplete", remote.etag));
        let arrived = download(client, file, &remote, &part, progress)
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
