//! NumPy's `.npy` files of little-endian float32 values in C order.
//!
//! The format: the magic `\x93NUMPY`, two version bytes, the length of the header (two bytes in version 1, four in
//! 2 and 3), the header (a Python dictionary with `descr`, `fortran_order` and `shape`), the values.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use unet3p_data::Image;

use crate::{Error, Result};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Headers are a line; one beyond this is no header.
const MAX_HEADER: usize = 64 * 1024;

/// Reads the shape of the array in `path` from the file's beginning.
///
/// # Errors
/// When the file cannot be read, is not an array of little-endian float32 values in C order, or is shorter or longer
/// than its shape says.
pub fn read_npy_shape(path: &Path) -> Result<Vec<usize>> {
    Ok(open(path)?.0)
}

/// Reads the array in `path`: its shape and its values in C order.
///
/// # Errors
/// As [`read_npy_shape`].
pub fn read_npy(path: &Path) -> Result<(Vec<usize>, Vec<f32>)> {
    let (shape, file) = open(path)?;
    // the file may have changed since its length was taken
    values(path, shape, file)
}

/// Reads an array from a stream: its shape and its values in C order. `name` is for messages.
///
/// # Errors
/// As [`read_npy_shape`], with `name` for the file.
///
/// ```
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("a.npy");
/// unet3p::write_npy(&path, &[1, 2], &[1.5, -2.0])?;
/// let bytes = std::fs::read(&path).unwrap();
/// assert_eq!(unet3p::read_npy_from("a.npy".as_ref(), bytes.as_slice())?, (vec![1, 2], vec![1.5, -2.0]));
/// # Ok::<(), unet3p::Error>(())
/// ```
pub fn read_npy_from(name: &Path, mut stream: impl Read) -> Result<(Vec<usize>, Vec<f32>)> {
    let shape = read_header(&mut stream, name)?;
    // No more than the shape claims is read, and nothing is allocated on its word alone.
    let needed = bytes_of(&shape).unwrap_or(u64::MAX - 1);
    values(name, shape, stream.take(needed.saturating_add(1)))
}

/// The values that follow a header.
fn values(path: &Path, shape: Vec<usize>, mut stream: impl Read) -> Result<(Vec<usize>, Vec<f32>)> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(|e| Error::io(path, "read", e))?;
    check_length(path, &shape, bytes.len() as u64)?;
    let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    Ok((shape, values))
}

/// The bytes of so many values.
fn bytes_of(shape: &[usize]) -> Option<u64> {
    shape.iter().try_fold(4u64, |n, &side| n.checked_mul(side as u64))
}

/// Opens the array in `path`: its shape, which its length bears out, and the file at the first value.
fn open(path: &Path) -> Result<(Vec<usize>, File)> {
    let io = |e| Error::io(path, "read", e);
    let mut file = unet3p_data::open_file(path)?;
    let length = file.metadata().map_err(io)?.len();
    let shape = read_header(&mut file, path)?;
    let start = file.stream_position().map_err(io)?;
    check_length(path, &shape, length.saturating_sub(start))?;
    Ok((shape, file))
}

/// Holds the shape that a header claims against the bytes of values that follow it.
fn check_length(path: &Path, shape: &[usize], bytes: u64) -> Result<()> {
    if bytes_of(shape) == Some(bytes) {
        return Ok(());
    }
    Err(Error::input(
        path,
        format!(
            "its shape is {shape:?}, and {bytes} bytes of values follow; the file is cut short or damaged"
        ),
    ))
}

/// Reads the images `[channels, height, width]` in an array of one (three axes) or several (four).
pub(crate) fn read_npy_images(path: &Path, channels: usize) -> Result<Vec<Image>> {
    images(path, read_npy(path)?, channels)
}

/// The same of a stream.
pub(crate) fn images_from(name: &Path, stream: impl Read, channels: usize) -> Result<Vec<Image>> {
    images(name, read_npy_from(name, stream)?, channels)
}

fn images(path: &Path, (shape, values): (Vec<usize>, Vec<f32>), channels: usize) -> Result<Vec<Image>> {
    let (&found, height, width) = match shape.as_slice() {
        [c, h, w] | [_, c, h, w] if *h > 0 && *w > 0 && !values.is_empty() => (c, *h, *w),
        _ => {
            return Err(Error::input(
                path,
                format!(
                    "has the shape {shape:?}; [channels, height, width] or \
                     [images, channels, height, width] is needed, no side 0"
                ),
            ));
        }
    };
    if found != channels {
        return Err(Error::input(
            path,
            format!("has {found} channels (shape {shape:?}), and the model takes {channels}"),
        ));
    }
    if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
        return Err(Error::input(path, format!("holds {bad}; finite values are needed")));
    }
    values
        .chunks(channels * height * width)
        .map(|image| Ok(Image::new(channels, height, width, image.to_vec())?))
        .collect()
}

/// Writes `values` with `shape`, through a temporary file that is then renamed.
///
/// # Errors
/// When the file cannot be written.
pub fn write_npy(path: &Path, shape: &[usize], values: &[f32]) -> Result<()> {
    unet3p_data::write_atomically(path, |out| {
        out.write_all(&header(shape))?;
        for value in values {
            out.write_all(&value.to_le_bytes())?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Magic, version 1.0, length and dictionary, padded so that the values begin at a multiple of 64.
fn header(shape: &[usize]) -> Vec<u8> {
    let sides: Vec<_> = shape.iter().map(usize::to_string).collect();
    // As Python writes tuples: of one value with a comma.
    let comma = if sides.len() == 1 { "," } else { "" };
    let tuple = format!("({}{comma})", sides.join(", "));
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple}, }}");
    let preamble = MAGIC.len() + 4;
    let total = (preamble + text.len() + 1).next_multiple_of(64);
    text.push_str(&" ".repeat(total - preamble - text.len() - 1));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // A dictionary with a handful of sides is far below 65536 bytes.
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

fn read_header(file: &mut impl Read, path: &Path) -> Result<Vec<usize>> {
    let not_npy = || Error::input(path, "is not a .npy array; numpy.save writes one");
    let mut read = |n: usize| -> Result<Vec<u8>> {
        let mut bytes = vec![0; n];
        match file.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(not_npy()),
            Err(e) => Err(Error::io(path, "read", e)),
        }
    };
    let preamble = read(8)?;
    if !preamble.starts_with(MAGIC) {
        return Err(not_npy());
    }
    let length = match preamble[6] {
        1 => {
            let b = read(2)?;
            u16::from_le_bytes([b[0], b[1]]) as usize
        }
        2 | 3 => {
            let b = read(4)?;
            u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize
        }
        _ => return Err(not_npy()),
    };
    if length > MAX_HEADER {
        return Err(not_npy());
    }
    let text = String::from_utf8(read(length)?).map_err(|_| not_npy())?;
    let descr = value_of(&text, "descr").ok_or_else(not_npy)?;
    let descr = descr.trim_matches(['\'', '"']);
    if descr != "<f4" {
        return Err(Error::input(
            path,
            format!("holds values of type {descr}; save it as float32: array.astype('float32')"),
        ));
    }
    if value_of(&text, "fortran_order").ok_or_else(not_npy)? != "False" {
        return Err(Error::input(path, "is in Fortran order; save numpy.ascontiguousarray(array)"));
    }
    value_of(&text, "shape")
        .and_then(|tuple| {
            let sides = tuple.strip_prefix('(')?.strip_suffix(')')?;
            sides
                .split(',')
                .map(str::trim)
                .filter(|side| !side.is_empty())
                .map(|side| side.parse().ok())
                .collect()
        })
        .ok_or_else(not_npy)
}

/// The text of a key's value in a flat Python dictionary whose only nested value is a tuple.
fn value_of<'a>(dictionary: &'a str, key: &str) -> Option<&'a str> {
    let after_key = [format!("'{key}'"), format!("\"{key}\"")]
        .iter()
        .find_map(|quoted| Some(dictionary.split_once(quoted.as_str())?.1))?;
    let value = after_key.trim_start().strip_prefix(':')?.trim_start();
    let end = if value.starts_with('(') { value.find(')')? + 1 } else { value.find([',', '}'])? };
    Some(value[..end].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        for shape in [vec![], vec![6], vec![2, 3], vec![1, 3, 2, 1]] {
            let values: Vec<f32> = (0..shape.iter().product()).map(|i| i as f32 - 2.5).collect();
            let values_len = values.len();
            write_npy(&path, &shape, &values).unwrap();
            assert_eq!(read_npy_shape(&path).unwrap(), shape);
            assert_eq!(read_npy(&path).unwrap(), (shape, values));
            let header = std::fs::metadata(&path).unwrap().len() as usize - 4 * values_len;
            assert_eq!(header % 64, 0);
        }
    }

    /// The bytes numpy itself writes for `numpy.save(f, numpy.array([[1.5, -2.0]], "float32"))`.
    #[test]
    fn a_file_of_numpy_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let mut text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }".to_string();
        while !(10 + text.len() + 1).is_multiple_of(64) {
            text.push(' ');
        }
        text.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend([0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read_npy(&path).unwrap(), (vec![1, 2], vec![1.5, -2.0]));
        write_npy(&path, &[1, 2], &[1.5, -2.0]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn what_is_no_float32_array_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let with_header = |text: &str| {
            let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
            bytes.extend((text.len() as u16).to_le_bytes());
            bytes.extend(text.as_bytes());
            bytes
        };
        let cases: [(Vec<u8>, &str); 7] = [
            (b"".to_vec(), "not a .npy"),
            (b"hello, this is text".to_vec(), "not a .npy"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "not a .npy"),
            (with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }"), "float32"),
            (with_header("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }"), "ascontiguousarray"),
            (with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }"), "cut short"),
            (
                with_header(
                    "{'descr': '<f4', 'fortran_order': False, \
                     'shape': (4294967296, 4294967296, 4), }",
                ),
                "cut short",
            ),
        ];
        for (bytes, reason) in cases {
            std::fs::write(&path, bytes).unwrap();
            let error = read_npy(&path).unwrap_err().to_string();
            assert_eq!(read_npy_shape(&path).unwrap_err().to_string(), error);
            assert!(error.contains("a.npy") && error.contains(reason), "{error}");
        }
    }
}
