//! What the values and the colours of masks stand for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The class id of each value that masks may hold, such as `{ "0" = 0, "128" = 1, "255" = 2 }` in TOML.
///
/// ```
/// use unet3p_data::MaskValues;
/// let values: MaskValues = serde_json::from_str(r#"{ "0": 0, "128": 1 }"#)?;
/// assert_eq!(values, MaskValues::from_iter([(0, 0), (128, 1)]));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u8>", into = "BTreeMap<String, u8>")]
pub struct MaskValues(pub(super) BTreeMap<u16, u8>);

impl MaskValues {
    /// Whether no value is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(u16, u8)> for MaskValues {
    fn from_iter<I: IntoIterator<Item = (u16, u8)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl TryFrom<BTreeMap<String, u8>> for MaskValues {
    type Error = String;

    fn try_from(table: BTreeMap<String, u8>) -> Result<Self, String> {
        let value = |(text, id): (String, u8)| match text.parse() {
            Ok(value) => Ok((value, id)),
            Err(_) => {
                Err(format!("{text:?} is no value of a mask: whole numbers from 0 to 65535 are needed"))
            }
        };
        table.into_iter().map(value).collect()
    }
}

impl From<MaskValues> for BTreeMap<String, u8> {
    fn from(values: MaskValues) -> Self {
        values.0.into_iter().map(|(value, id)| (value.to_string(), id)).collect()
    }
}

/// The class id of each colour that masks may hold, such as `{ "#ff0000" = 1, "0,255,0" = 2 }` in TOML. Black is the
/// background unless it is mapped.
///
/// ```
/// use unet3p_data::MaskColors;
/// let colors: MaskColors = serde_json::from_str(r##"{ "#FF0000": 1, "0, 255, 0": 2 }"##)?;
/// assert_eq!(colors, MaskColors::from_iter([([255, 0, 0], 1), ([0, 255, 0], 2)]));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, u8>", into = "BTreeMap<String, u8>")]
pub struct MaskColors(pub(super) BTreeMap<[u8; 3], u8>);

impl MaskColors {
    /// Whether no colour is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The class id of a colour, if it stands for one.
    pub(super) fn id(&self, color: [u8; 3]) -> Option<u8> {
        self.0.get(&color).copied().or((color == [0; 3]).then_some(0))
    }
}

impl FromIterator<([u8; 3], u8)> for MaskColors {
    fn from_iter<I: IntoIterator<Item = ([u8; 3], u8)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl TryFrom<BTreeMap<String, u8>> for MaskColors {
    type Error = String;

    fn try_from(table: BTreeMap<String, u8>) -> Result<Self, String> {
        let mut colors = BTreeMap::new();
        for (text, id) in table {
            let color = parse(&text).ok_or_else(|| {
                format!("{text:?} is no colour: \"#rrggbb\" or \"red,green,blue\" from 0 to 255 is needed")
            })?;
            if colors.insert(color, id).is_some() {
                return Err(format!("{text:?} is there twice, as {}", hex(color)));
            }
        }
        Ok(Self(colors))
    }
}

impl From<MaskColors> for BTreeMap<String, u8> {
    fn from(colors: MaskColors) -> Self {
        colors.0.into_iter().map(|(color, id)| (hex(color), id)).collect()
    }
}

/// `#rrggbb`.
pub(super) fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn parse(text: &str) -> Option<[u8; 3]> {
    if let Some(digits) = text.trim().strip_prefix('#') {
        let number = u32::from_str_radix(digits, 16).ok()?;
        let fine = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let [_, color @ ..] = number.to_be_bytes();
        return fine.then_some(color);
    }
    let parts: Vec<u8> = text.split(',').map(|part| part.trim().parse().ok()).collect::<Option<_>>()?;
    parts.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_value_or_colour_is_named() {
        let table = |key: &str| BTreeMap::from([(key.to_string(), 1)]);
        assert!(MaskValues::try_from(table("x")).unwrap_err().contains("\"x\""));
        for wrong in ["", "red", "#ff", "#ff00000", "#+f0000", "1,2", "1,2,3,4", "1,2,256", "-1,2,3"] {
            assert!(MaskColors::try_from(table(wrong)).unwrap_err().contains("#rrggbb"), "{wrong}");
        }
        let twice = BTreeMap::from([("#ff0000".to_string(), 1), ("255,0,0".to_string(), 2)]);
        assert!(MaskColors::try_from(twice).unwrap_err().contains("twice"));
        let colors = MaskColors::try_from(table("#0AfF01")).unwrap();
        assert_eq!(colors, MaskColors::from_iter([([10, 255, 1], 1)]));
        assert_eq!(BTreeMap::from(colors), table("#0aff01"));
    }
}
