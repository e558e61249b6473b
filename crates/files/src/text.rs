//! Reading text.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::open::{Content, open};

/// Most bytes of a configuration, an index or a list: 64 MiB. The index of half a million slices has so many, a
/// configuration a few thousand; what is longer is another file under that name.
pub const MAX_TEXT: u64 = 64 << 20;

/// Reads a text file of at most [`MAX_TEXT`] bytes, as [`decode`] does.
///
/// # Errors
/// Those of [`read_text_up_to`].
pub fn read_text(path: &Path) -> io::Result<String> {
    read_text_up_to(path, MAX_TEXT)
}

/// Reads a text file of at most `most` bytes, as [`decode`] does.
///
/// # Errors
/// Those of [`open`]; that it is longer; those of [`decode`].
pub fn read_text_up_to(path: &Path, most: u64) -> io::Result<String> {
    let (file, length) = open(path, Content::Other)?;
    if length > most {
        return Err(too_long(length, most));
    }
    read_from(file, most)
}

/// Reads text of at most [`MAX_TEXT`] bytes to its end, from a pipe as well, and [`decode`]s it.
///
/// # Errors
/// What the system says; that it is longer; those of [`decode`].
pub fn read_text_from(source: impl Read) -> io::Result<String> {
    read_from(source, MAX_TEXT)
}

fn read_from(source: impl Read, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    source.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        length if length > most => Err(too_long(length, most)),
        _ => decode(bytes),
    }
}

fn too_long(length: u64, most: u64) -> io::Error {
    let problem = format!("has {length} bytes or more, at most {most} are read: is it the right file?");
    io::Error::new(ErrorKind::FileTooLarge, problem)
}

/// The text of a file's bytes, without the byte order mark that editors on Windows put before it. With the mark of UTF-16,
/// as PowerShell writes files, the text is UTF-16, else UTF-8.
///
/// # Errors
/// That the bytes are no such text.
///
/// ```
/// use unet3p_files::decode;
///
/// assert_eq!(decode(b"\xef\xbb\xbf{}".to_vec())?, "{}");
/// assert_eq!(decode(b"\xff\xfe{\0}\0".to_vec())?, "{}");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn decode(bytes: Vec<u8>) -> io::Result<String> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, odd) = rest.as_chunks();
        let units: Vec<u16> = pairs.iter().map(|&pair| unit(pair)).collect();
        String::from_utf16(&units).ok().filter(|_| odd.is_empty())
    };
    let text = match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => std::str::from_utf8(rest).ok().map(str::to_owned),
        _ => String::from_utf8(bytes).ok(),
    };
    text.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "is no text in UTF-8"))
}
