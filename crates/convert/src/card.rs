//! The model card of a converted checkpoint: what the file says, and what only its owner knows.

use std::path::Path;

use unet3p_models::ModelCard;

use crate::Error;
use crate::convert::ConvertReport;
use crate::names::Naming;
use crate::preprocessor::read;
use crate::source::SourceKind;

/// The card's name in a model folder.
pub(crate) const FILE_NAME: &str = ModelCard::FILE_NAME;

/// What the card leaves open.
const OPEN: &str = "To be filled in:";

/// The card at `path` in which people have written: one that is not as [`text`] makes it.
pub(crate) fn written_in(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let Some(card) = read(path)? else { return Ok(None) };
    let text = String::from_utf8_lossy(&card);
    let untouched = text.contains("Converted by unet3p ") && text.matches(OPEN).count() == 3;
    Ok((!untouched).then_some(card))
}

/// A Hub model card with the parts left open that a checkpoint does not tell. `default_preprocessor` is whether nobody has
/// said how input is prepared.
pub(crate) fn text(report: &ConvertReport, default_preprocessor: bool) -> String {
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
    let summary = format!("Converted by unet3p {} from {source}{naming}.", env!("CARGO_PKG_VERSION"));
    let assumed = report
        .assumed
        .iter()
        .map(|assumed| format!("- `{}`: {}, because {}\n", assumed.key, assumed.value, assumed.reason));
    let assumed: String = assumed.collect();
    let assumed = if assumed.is_empty() {
        assumed
    } else {
        format!("The checkpoint does not tell all of the configuration. What was assumed:\n\n{assumed}\n")
    };
    let preparation = if default_preprocessor {
        format!(
            "A converted checkpoint does not tell how its input was prepared: `{}` divides by\n\
             255 and nothing more. Change it to what the training did.\n\n",
            unet3p_data::Preprocessor::FILE_NAME,
        )
    } else {
        String::new()
    };
    let body = format!(
        "{assumed}\
         {preparation}\
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
         {OPEN} that of the original weights.\n"
    );
    ModelCard { summary, body, ..ModelCard::default() }.text(&report.config)
}
