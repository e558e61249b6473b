//! Values of the options.

use unet3p_data::Size;
use unet3p_data::prepare::{ClassLabels, NamePattern};

pub(super) fn parse_class(text: &str) -> Result<ClassLabels, String> {
    let wrong = || "use NAME=ID or NAME=ID,ID,... with ids from 1 to 65535".to_string();
    let (name, labels) = text.split_once('=').ok_or_else(wrong)?;
    let labels =
        labels.split(',').map(|id| id.trim().parse().ok().filter(|&id| id > 0)).collect::<Option<Vec<u16>>>();
    match labels {
        Some(labels) if !name.is_empty() => Ok(ClassLabels { name: name.to_string(), labels }),
        _ => Err(wrong()),
    }
}

pub(super) fn parse_pattern(text: &str) -> Result<NamePattern, String> {
    text.parse().map_err(|error: unet3p_data::Error| error.to_string())
}

fn parse_numbers(text: &str) -> Option<Vec<f64>> {
    text.split(',').map(|n| n.trim().parse().ok().filter(|n: &f64| n.is_finite())).collect()
}

pub(super) fn parse_window(text: &str) -> Result<[f64; 2], String> {
    match parse_numbers(text).as_deref() {
        Some(&[low, high]) if low < high => Ok([low, high]),
        _ => Err("use LOW,HIGH, e.g. -200,250".to_string()),
    }
}

pub(super) fn parse_spacing(text: &str) -> Result<[f64; 3], String> {
    match parse_numbers(text).as_deref() {
        Some(&[all]) if all > 0.0 => Ok([all; 3]),
        Some(&[x, y, z]) if [x, y, z].iter().all(|&n| n > 0.0) => Ok([x, y, z]),
        _ => Err("use one positive number of millimetres, or three: columns, rows, slices".to_string()),
    }
}

pub(super) fn parse_size(text: &str) -> Result<Size, String> {
    crate::args::parse_size(text).map(|(height, width)| Size { height, width })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_they_are_meant() {
        let class = parse_class("kidneys=2,3").unwrap();
        assert_eq!((class.name.as_str(), class.labels.as_slice()), ("kidneys", &[2, 3][..]));
        for wrong in ["", "liver", "=5", "liver=", "liver=0", "liver=x", "liver=70000"] {
            assert!(parse_class(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_window("-200,250"), Ok([-200.0, 250.0]));
        for wrong in ["", "5", "5,5", "nan,5", "1,2,3"] {
            assert!(parse_window(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_spacing("3"), Ok([3.0; 3]));
        assert_eq!(parse_spacing("0.7, 0.7,5"), Ok([0.7, 0.7, 5.0]));
        for wrong in ["", "0", "-1", "1,2", "1,2,inf"] {
            assert!(parse_spacing(wrong).is_err(), "{wrong}");
        }
    }
}
