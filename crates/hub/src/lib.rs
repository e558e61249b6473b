//! Models of the Hugging Face Hub: from an id to a model folder in the cache.
//!
//! [`Hub::pull`] asks the Hub for the revision's commit, fetches what the cache lacks, checks it, and gives the folder.
//! The cache is the one of Python's huggingface_hub, in its layout: what one has fetched, the other finds. The layout
//! is hf-hub's; its downloads are not used, for they send the token along to where a redirect leads and do not check
//! what arrives.
//!
//! ```no_run
//! use unet3p_hub::Hub;
//!
//! let folder = Hub::from_env().pull(&"acme/liver-ct@v1".parse()?, &mut |_| {})?;
//! println!("{}", folder.display());
//! # Ok::<(), unet3p_hub::HubError>(())
//! ```
#![forbid(unsafe_code)]

mod address;
mod cache;
mod client;
mod digest;
mod download;
mod error;
mod files;
mod id;
mod pace;
mod pull;
mod settings;

pub use download::Progress;
pub use error::HubError;
pub use id::ModelId;
pub use settings::{DEFAULT_ENDPOINT, Hub};
