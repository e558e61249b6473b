//! The model card of a converted checkpoint: what the file says, and what only its owner knows.

use std::path::Path;

use unet3p_models::Variant;

use crate::convert::ConvertReport;
use crate::names::Naming;
use crate::source::SourceKind;

/// The card's name in a model folder.
pub(crate) const FILE_NAME: &str = "README.md";

/// What the card leaves open.
const OPEN: &str = "To be filled in:";

/// Whether nothing is lost when the card at `path` is written: there is none, or one of [`text`] in which nothing is
/// filled in yet.
pub(crate) fn may_replace(path: &Path) -> bool {
    match std::fs::read_to_string(path) {
        Ok(card) => card.contains("Converted by unet3p ") && card.matches(OPEN).count() == 3,
        Err(cause) => cause.kind() == std::io::ErrorKind::NotFound,
    }
}

/// Writes a Hub model card with the parts left open that a checkpoint does not tell.
pub(crate) fn text(report: &ConvertReport) -> String {
    let config = &report.config;
    let variant = match config.variant {
        Variant::Base => "UNet 3+",
        Variant::DeepSupervision => "UNet 3+ with deep supervision",
        Variant::DeepSupervisionCgm => "UNet 3+ with deep supervision and classification guide",
    };
    let source = match report.source {
        SourceKind::PyTorch => "a PyTorch checkpoint",
        SourceKind::Keras => "a Keras file",
        SourceKind::Safetensors => "a safetensors file",
    };
    let naming = match report.naming {
        Some(Naming::Authors) => " with the authors' tensor names",
        Some(Naming::Native) => " with unet3p's tensor names",
        None => "",
    };
    format!(
        "---\n\
         library_name: unet3p\n\
         pipeline_tag: image-segmentation\n\
         tags:\n\
         - unet3plus\n\
         - image-segmentation\n\
         - medical-imaging\n\
         ---\n\
         \n\
         # {variant}\n\
         \n\
         Converted by unet3p {version} from {source}{naming}.\n\
         \n\
         | | |\n\
         |---|---|\n\
         | input channels | {in_channels} |\n\
         | classes | {num_classes} |\n\
         | filters | {filters:?} |\n\
         | parameters | {parameters} |\n\
         \n\
         A converted checkpoint does not tell how its input was prepared: `{preprocessor}` divides by\n\
         255 and nothing more. Change it to what the training did.\n\
         \n\
         ## Data\n\
         \n\
         {OPEN} data set, its licence, split, preprocessing.\n\
         \n\
         ## Results\n\
         \n\
         {OPEN} metrics on data that the training did not see.\n\
         \n\
         ## Licence\n\
         \n\
         {OPEN} that of the original weights.\n",
        version = env!("CARGO_PKG_VERSION"),
        in_channels = config.in_channels,
        num_classes = config.num_classes,
        filters = config.filters,
        parameters = report.parameters,
        preprocessor = unet3p_data::Preprocessor::FILE_NAME,
    )
}
