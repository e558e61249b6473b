//! The plan of a prediction run: which input becomes which output, who may write there, and what earlier runs left.
//!
//! ```
//! use unet3p::plan::{Extras, Target, check_new, discover, plan};
//!
//! # let place = tempfile::tempdir()?;
//! # let slices = place.path().join("slices");
//! # std::fs::create_dir(&slices)?;
//! # std::fs::write(slices.join("a.png"), "")?;
//! # let out = place.path().join("out");
//! let target = Target::at(&out)?;
//! let inputs = discover(&[slices], None, false)?;
//! let items = plan(inputs, &target, Extras { overlay: true, ..Extras::default() })?;
//! check_new(&items, &target.record())?;
//! for item in &items {
//!     println!("{} -> {}", item.input.path.display(), item.outputs[0].mask.display());
//! }
//! # assert_eq!(items[0].outputs[0].mask, out.join("a_mask.png"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`lock`] keeps other processes away meanwhile, and [`Journal`] writes the [record](crate::record) while the run goes on, so
//! that a run that is killed can be gone on with ([`Earlier`]).

mod channels;
mod earlier;
mod error;
mod inputs;
mod journal;
pub mod layout;
mod lock;
mod outputs;
mod target;
mod written;

pub use channels::{by_case, case_files, is_list, listed_cases, may_be_channel};
pub use earlier::{Earlier, Kept};
pub use error::PlanError;
pub use inputs::{Input, Kind, discover};
pub use journal::{Journal, Run};
pub use lock::{Held, lock};
pub use outputs::{Extras, Item, Outputs, check_folder, check_new, create_folder, plan};
pub use target::Target;
pub use written::without_written;

pub(crate) use channels::grouped;
pub(crate) use inputs::{images_of, stems};
pub(crate) use lock::lock_file;
pub(crate) use target::record_beside;
