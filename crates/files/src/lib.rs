//! Files as the other crates read and write them.
//!
//! - [`open`] gives what is a file, never a folder, a pipe or a device, and knows the pointers of Git LFS.
//! - [`read_text`] reads JSON and the like, up to a limit and without a byte order mark.
//! - [`Lock`] keeps other processes away.
//! - [`write()`] writes a file that is there whole or not at all.
//! - [`NewFolder`] does the same for a folder with all that belongs together.
//!
//! Errors are those of the system; whoever asks names the path.
#![forbid(unsafe_code)]

mod lock;
mod open;
mod replace;
mod text;
mod write;

pub use lock::Lock;
pub use open::{Content, open};
pub use replace::{NewFolder, recover_folder};
pub use text::{MAX_TEXT, decode, read_text, read_text_from, read_text_up_to};
pub use write::{is_temporary, sync_folder, write};
