//! Which mask belongs to which image, by their names.

use serde::{Deserialize, Serialize};

/// What stands for the image's name.
const NAME: &str = "{name}";

/// How the name of a mask follows from that of its image, both without extension: a text with `{name}`, such as
/// `{name}_mask`.
///
/// ```
/// use unet3p_data::MaskName;
/// let rule = MaskName::try_from("{name}_mask".to_string())?;
/// assert_eq!(rule.of("a_000"), "a_000_mask");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MaskName(String);

impl MaskName {
    /// The name of an image's mask. Folders in the name stay as they are: `a/1` becomes `a/1_mask`.
    pub fn of(&self, image: &str) -> String {
        let (folder, name) = split(image);
        format!("{folder}{}", self.0.replace(NAME, name))
    }
}

impl TryFrom<String> for MaskName {
    type Error = String;

    fn try_from(rule: String) -> Result<Self, String> {
        if rule.matches(NAME).count() == 1 && !rule.contains(['/', '\\']) {
            return Ok(Self(rule));
        }
        Err(format!(
            "{rule:?}: a file name without extension that holds {NAME} once is needed, as {NAME}_mask"
        ))
    }
}

impl From<MaskName> for String {
    fn from(rule: MaskName) -> Self {
        rule.0
    }
}

/// The folders of a name with their last `/`, and the file's own name.
fn split(image: &str) -> (&str, &str) {
    image.split_at(image.rfind('/').map_or(0, |at| at + 1))
}

/// The names that the mask of `image` may have, the likeliest first: what the rule says; without one the image's own,
/// and `mask_` where the image's says `image_`.
pub(super) fn candidates(rule: Option<&MaskName>, image: &str) -> Vec<String> {
    let (folder, name) = split(image);
    match rule {
        Some(rule) => vec![rule.of(image)],
        None if name.contains("image_") => {
            vec![image.to_string(), format!("{folder}{}", name.replacen("image_", "mask_", 1))]
        }
        None => vec![image.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_holds_the_name_once() {
        for wrong in ["", "mask", "{name}{name}", "masks/{name}"] {
            assert!(MaskName::try_from(wrong.to_string()).unwrap_err().contains("{name}"), "{wrong}");
        }
        let rule = MaskName::try_from("mask_{name}".to_string()).unwrap();
        assert_eq!(candidates(Some(&rule), "image_3"), ["mask_image_3"]);
        assert_eq!(candidates(None, "p1_image_3"), ["p1_image_3", "p1_mask_3"]);
        assert_eq!(candidates(None, "3"), ["3"]);
        // Folders are no part of the name.
        assert_eq!(candidates(Some(&rule), "p2/c/3"), ["p2/c/mask_3"]);
        assert_eq!(candidates(None, "image_set/image_3"), ["image_set/image_3", "image_set/mask_3"]);
        assert_eq!(candidates(None, "image_set/3"), ["image_set/3"]);
    }
}
