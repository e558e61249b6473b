//! Which Hub, which cache, whose token: by hand or from the environment.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::address::without_credentials;

/// The Hub unless told otherwise.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// How often a fault is waited out unless told otherwise.
const RETRIES: u32 = 3;

/// The Hugging Face Hub and the cache in which its models are kept.
///
/// ```
/// use unet3p_hub::{Hub, HubError};
///
/// # let folder = tempfile::tempdir().unwrap();
/// let hub = Hub::new(folder.path()).with_offline(true);
/// let error = hub.pull(&"acme/liver-ct".parse()?, &mut |_| {}).unwrap_err();
/// assert!(matches!(error, HubError::NotCached { file: "config.json", .. }));
/// # Ok::<(), HubError>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    pub(crate) endpoint: String,
    /// None where no folder is known.
    pub(crate) cache: Option<PathBuf>,
    pub(crate) token: Option<String>,
    pub(crate) offline: bool,
    pub(crate) retries: u32,
}

impl Hub {
    /// The public Hub without a token, its models kept in the folder `cache`.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.to_string(),
            cache: Some(cache.into()),
            token: None,
            offline: false,
            retries: RETRIES,
        }
    }

    /// What the environment says, as Python's huggingface_hub reads it:
    ///
    /// - `HF_ENDPOINT`: the Hub's address.
    /// - `HF_HUB_CACHE`: the cache, else `hub` in `HF_HOME`, else in `huggingface` in `XDG_CACHE_HOME` or `~/.cache`.
    /// - `HF_TOKEN`: the token, else that in the file `HF_TOKEN_PATH`, else in `token` in `HF_HOME`, where
    ///   `hf auth login` leaves it.
    /// - `HF_HUB_OFFLINE`: with `1`, `true`, `yes` or `on` only the cache is used.
    pub fn from_env() -> Self {
        Self::from_variables(|name| std::env::var(name).ok(), std::env::home_dir())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>, user: Option<PathBuf>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let folder = |name: &str| set(name).map(|path| expand(&path, user.as_deref()));
        let caches = || folder("XDG_CACHE_HOME").or_else(|| Some(user.as_deref()?.join(".cache")));
        let home = folder("HF_HOME").or_else(|| Some(caches()?.join("huggingface")));
        let stored = || {
            let file = folder("HF_TOKEN_PATH").or_else(|| Some(home.as_deref()?.join("token")))?;
            std::fs::read_to_string(file).ok()
        };
        let token = set("HF_TOKEN").or_else(stored).map(|token| token.trim().to_string());
        let on = |value: String| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str());
        Self {
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_string()),
            cache: folder("HF_HUB_CACHE").or_else(|| Some(home.as_deref()?.join("hub"))),
            token: token.filter(|token| !token.is_empty()),
            offline: set("HF_HUB_OFFLINE").is_some_and(on),
            retries: RETRIES,
        }
    }

    /// The Hub's address, for a mirror or a company's own.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// The token that private and gated models need. It is sent to the Hub alone, never where it redirects to.
    #[must_use]
    pub fn with_token(mut self, token: Option<String>) -> Self {
        self.token = token;
        self
    }

    /// Whether only the cache is used.
    #[must_use]
    pub fn with_offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// How often in a row a fault that may pass is waited out; 3 by default. The waits take half a second, then twice as
    /// long each time.
    #[must_use]
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }
}

/// A leading `~` is the user's folder, as in a shell.
fn expand(path: &str, user: Option<&Path>) -> PathBuf {
    match (path.strip_prefix('~'), user) {
        (Some(rest), Some(user)) if rest.is_empty() || rest.starts_with('/') => {
            user.join(rest.trim_start_matches('/'))
        }
        _ => PathBuf::from(path),
    }
}

impl fmt::Debug for Hub {
    /// The token is a secret, and so is a password in the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &without_credentials(&self.endpoint))
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("offline", &self.offline)
            .field("retries", &self.retries)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Hub {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_string())
        };
        Hub::from_variables(variable, Some("/home/me".into()))
    }

    #[test]
    fn the_cache_is_pythons() {
        for (variables, cache) in [
            (&[][..], "/home/me/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/h/hub"),
            (&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")], "/c"),
            (&[("HF_HUB_CACHE", "~/c")], "/home/me/c"),
            (&[("HF_HUB_CACHE", " ")], "/home/me/.cache/huggingface/hub"),
        ] {
            assert_eq!(hub(variables).cache.as_deref(), Some(Path::new(cache)), "{variables:?}");
        }
        assert_eq!(Hub::from_variables(|_| None, None).cache, None);
    }

    #[test]
    fn a_token_is_trimmed_and_never_shown() {
        let place = tempfile::tempdir().unwrap();
        let home = place.path().to_str().unwrap();
        std::fs::write(place.path().join("token"), "hf_stored\n").unwrap();
        std::fs::write(place.path().join("other"), "hf_other\n").unwrap();
        let other = format!("{home}/other");
        let token = |variables: &[(&str, &str)]| hub(variables).token;
        assert_eq!(token(&[("HF_HOME", home)]).as_deref(), Some("hf_stored"));
        // The cache may lie elsewhere: the token is beside what belongs to the user.
        assert_eq!(token(&[("HF_HOME", home), ("HF_HUB_CACHE", "/c")]).as_deref(), Some("hf_stored"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN_PATH", &other)]).as_deref(), Some("hf_other"));
        assert_eq!(token(&[("HF_HOME", home), ("HF_TOKEN", " hf_mine ")]).as_deref(), Some("hf_mine"));
        assert_eq!(token(&[("HF_HOME", "/nowhere")]), None);
        let shown = format!("{:?}", hub(&[("HF_TOKEN", "hf_secret")]));
        assert!(shown.contains("***") && !shown.contains("secret"), "{shown}");
        let shown = format!("{:?}", hub(&[("HF_ENDPOINT", "http://me:secret@hub.test")]));
        assert!(shown.contains("hub.test") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn offline_is_a_switch() {
        for on in ["1", "true", "ON", "Yes"] {
            assert!(hub(&[("HF_HUB_OFFLINE", on)]).offline, "{on}");
        }
        for off in ["0", "", "false", "no"] {
            assert!(!hub(&[("HF_HUB_OFFLINE", off)]).offline, "{off}");
        }
        assert_eq!(hub(&[("HF_ENDPOINT", "http://hub.test")]).endpoint, "http://hub.test");
    }
}
