//! Evaluation of folders: which prediction belongs to which reference, the scores of each case and of all, and their record.
//!
//! ```
//! use unet3p::data::{LabelMap, MaskOptions};
//! use unet3p::evaluate::{Classes, MaskSource, Reader, Rules, Totals, assemble, masks, pair, score_all, scored_classes};
//!
//! # let place = tempfile::tempdir()?;
//! # let (out, labels) = (place.path().join("out"), place.path().join("labels"));
//! # let mask = LabelMap::new(2, 2, vec![0, 1, 1, 0])?;
//! # std::fs::create_dir(&out)?;
//! # std::fs::create_dir(&labels)?;
//! # unet3p::data::write_mask(&out.join("a_mask.png"), &mask, &[])?;
//! # unet3p::data::write_mask(&labels.join("a.png"), &mask, &[])?;
//! let predictions = masks(&out, true)?.into_iter().map(|(name, mask)| (name, (mask, None))).collect();
//! let paired = pair(predictions, masks(&labels, false)?, false, false)?;
//! let cases = assemble(paired.pairs, None, false)?;
//! let classes = Classes::new(&[1], Default::default(), false);
//! let rules = Rules { classes: &classes, tolerance: 1.0, ignore: None };
//! let reader = Reader::new(MaskOptions::default(), classes.may_be_binary(), &cases)?;
//! let outcomes = score_all(&cases, &rules, &mut MaskSource::Files(&reader), &());
//! let totals = Totals::new(&outcomes, &scored_classes(&classes, &outcomes, None)?);
//! for (metric, summary) in &totals.foreground.metrics {
//!     println!("{}: {:?}", metric.name(), summary.mean);
//! }
//! # assert_eq!(totals.foreground.metrics[0].1.mean, Some(1.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cases;
mod classes;
mod error;
mod ids;
mod mask;
mod outcome;
mod pairs;
mod predictor;
mod progress;
mod record;
mod score;
mod slices;
mod summary;
mod work;

pub use cases::{Case, Content, assemble};
pub use classes::{Classes, named_in};
pub use error::EvaluateError;
pub use ids::scored_classes;
pub use mask::{CaseError, Mask, Masks, Reader};
pub use outcome::Outcome;
pub use pairs::{Pair, Paired, check_distinct, images, masks, pair, warn_of_same};
pub use predictor::Predictor;
pub use progress::Progress;
pub use record::{Files, Origin};
pub use score::{Rules, Scored};
pub use slices::Slices;
pub use summary::{Total, Totals};
pub use work::{MaskSource, score_all};
