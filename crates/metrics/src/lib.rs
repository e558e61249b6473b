//! Metrics of segmentations on label maps with spacing, in two and three dimensions: overlap (Dice, IoU, precision,
//! recall, specificity, relative volume difference), surface distances (Hausdorff, HD95, ASSD, ASD, surface Dice at a
//! tolerance), the area under the ROC curve, and means over cases with bootstrap confidence intervals.
//!
//! The definitions are those of medpy where it has them: the tests hold the values to medpy's.
//!
//! ```
//! use unet3p_metrics::{Bootstrap, Labels, Metric, Scores, Summary};
//!
//! // Two slices of 4 x 5 voxels, 2.5 mm apart, voxels of 0.7 mm; class ids, the last axis runs fastest.
//! let reference: Vec<u8> = (0..2 * 4 * 5).map(|i| u8::from(i % 5 > 1)).collect();
//! let prediction: Vec<u8> = (0..2 * 4 * 5).map(|i| u8::from(i % 5 > 2)).collect();
//! let (shape, spacing) = ([2, 4, 5], [2.5, 0.7, 0.7]);
//! let scores = Scores::of_class(
//!     &Labels::new(&prediction, &shape, &spacing)?,
//!     &Labels::new(&reference, &shape, &spacing)?,
//!     1,   // the class
//!     1.0, // the surface Dice's tolerance, in mm
//! )?;
//! assert_eq!(scores.get(Metric::Dice), Some(0.8));
//! assert!((scores.hausdorff.unwrap() - 0.7).abs() < 1e-12);
//!
//! // Over cases: undefined and infinite values are left out of the mean, and counted.
//! let dice = Summary::of_cases(&[scores.get(Metric::Dice), Some(0.9), None], &Bootstrap::default());
//! assert!((dice.mean.unwrap() - 0.85).abs() < 1e-12);
//! assert_eq!(dice.undefined, 1);
//! # Ok::<(), unet3p_metrics::Error>(())
//! ```
//!
//! Work is shared by rayon's pool, and no result depends on the number of threads. A distance transform runs inside the
//! smallest box around both masks, and takes 4 bytes a voxel of it.
#![forbid(unsafe_code)]

mod bootstrap;
mod counts;
mod distance;
mod envelope;
mod error;
mod hausdorff;
mod labels;
mod overlap;
mod percentile;
mod region;
mod roc_auc;
mod scores;
mod summary;
mod surface;
mod surface_dice;
mod surface_distance;

pub use bootstrap::Bootstrap;
pub use counts::Counts;
pub use error::{Error, Result};
pub use labels::Labels;
pub use percentile::percentile;
pub use roc_auc::roc_auc;
pub use scores::{Metric, Scores};
pub use summary::Summary;
pub use surface_distance::SurfaceDistances;
