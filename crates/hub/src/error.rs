//! What can go wrong between an id and a folder in the cache.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::ModelId;

/// Why a model of the Hub is not at hand. Every message names the id or file, what is wrong, and what would mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Text that is not a Hub id.
    #[error("{id}: not a Hub id: {problem}; write org/name or org/name@revision")]
    Id {
        /// The text.
        id: String,
        /// Which rule it breaks.
        problem: &'static str,
    },

    /// No folder is known in which the cache could lie.
    #[error("there is no home folder to keep models of the Hub in; name one with HF_HUB_CACHE or HF_HOME")]
    NoCache,

    /// An endpoint that is no web address.
    #[error("HF_ENDPOINT: {endpoint}: not a web address; write one such as {}", crate::DEFAULT_ENDPOINT)]
    Endpoint {
        /// What it is set to, without user and password.
        endpoint: String,
    },

    /// A token that cannot be sent.
    #[error(
        "HF_TOKEN, or the stored token, is not a token: there is {problem} in it; set it to the one word that the Hub shows \
         when a token is made, or log in again with `hf auth login`"
    )]
    Token {
        /// What no token has.
        problem: &'static str,
    },

    /// Only the cache may be used, and it does not have the model.
    #[error(
        "{id}: offline, and there is no {file} of it in {}; fetch the model with `unet3p pull {id}` while online",
        cache.display()
    )]
    NotCached {
        /// The model.
        id: ModelId,
        /// The first file that is missing.
        file: &'static str,
        /// The cache.
        cache: PathBuf,
    },

    /// The Hub does not show the model to whoever asks.
    #[error("{id}: the Hub refuses access ({status}): {}", refusal(*.token, .page))]
    Refused {
        /// The model.
        id: ModelId,
        /// 401 or 403.
        status: u16,
        /// Whether a token was sent.
        token: bool,
        /// Where its page is, with the licence to accept.
        page: String,
    },

    /// No such model, revision or file.
    #[error(
        "{id}: not found on {endpoint}: {what} (404); check the spelling of id and revision, and set HF_TOKEN if the model \
         is private"
    )]
    NotFound {
        /// The model.
        id: ModelId,
        /// Which Hub.
        endpoint: String,
        /// What was asked for.
        what: String,
    },

    /// A repository that is no model of this library.
    #[error("{id}: the repository has no {file}; a model has config.json and model.safetensors at its top")]
    NotAModel {
        /// The repository.
        id: ModelId,
        /// The file that it lacks.
        file: &'static str,
    },

    /// No connection, or one that was cut too often.
    #[error(
        "{id}: cannot reach {host}: {cause}; check the network and HF_ENDPOINT, or use what is in the cache with --offline \
         (HF_HUB_OFFLINE=1)"
    )]
    Unreachable {
        /// The model.
        id: ModelId,
        /// Whom it was asked of.
        host: String,
        /// What the system said.
        cause: String,
    },

    /// A server that fails again and again.
    #[error("{id}: {host} fails: it answered {status} {attempts} times; try again later")]
    Unavailable {
        /// The model.
        id: ModelId,
        /// Whom it was asked of.
        host: String,
        /// Its last answer: 429 or 5xx.
        status: u16,
        /// How often it was asked.
        attempts: u32,
    },

    /// An answer that the Hub would not give.
    #[error("{id}: {url} does not answer as the Hub does: {problem}; check HF_ENDPOINT")]
    Answer {
        /// The model.
        id: ModelId,
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },

    /// A file that is not what it should be. It was removed from the cache.
    #[error(
        "{id}: {file} arrived damaged and was removed: {problem}; fetch it again with `unet3p pull {id}`, and if that does \
         not help, the file on the Hub is damaged"
    )]
    Damaged {
        /// The model.
        id: ModelId,
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        problem: String,
    },

    /// A file in the cache that is not what it should be, while the Hub cannot be asked for it.
    #[error(
        "{id}: {} is damaged: {problem}; fetch it again with `unet3p pull {id}` while online", path.display()
    )]
    CacheDamaged {
        /// The model.
        id: ModelId,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// The cache cannot be read or written.
    #[error("{}: {cause}{}", path.display(), mend(.cause.kind()))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
}

impl HubError {
    pub(crate) fn io(path: &Path, cause: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), cause }
    }

    /// Whether the Hub is not there, for now, so that what is in the cache has to do.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable { .. })
    }
}

/// What to do where access is refused.
fn refusal(token: bool, page: &str) -> impl fmt::Display {
    if token {
        format!(
            "the token may not read it; use one that may (HF_TOKEN), accept the model's licence at {page}, and check the \
             spelling of the id"
        )
    } else {
        format!(
            "it is private or gated, or there is no such model; set HF_TOKEN to a token that may read it, accept its \
             licence at {page}, or check the spelling of the id"
        )
    }
}

/// What to do about a file that cannot be written.
fn mend(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "; make room, or name a folder on another disk with HF_HUB_CACHE"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "; name a folder that can be written with HF_HUB_CACHE"
        }
        _ => "",
    }
}
