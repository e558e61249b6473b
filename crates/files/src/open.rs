//! Opening what is a file.

use std::fs::{File, FileType, Metadata};
use std::io::{self, ErrorKind, Read, Seek};
use std::path::Path;

/// How the pointers begin that Git LFS leaves in place of large files.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// No pointer is longer: Git LFS itself looks at so many bytes.
const POINTER_BYTES: u64 = 1024;

/// What a file is opened for. Errors say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A network's weights.
    Weights,
    /// Anything else.
    Other,
}

/// Opens a file for reading and tells its length.
///
/// Reading a pipe would wait for whoever writes it, and a device may never end: neither is opened.
///
/// # Errors
/// What the system says; that it is a folder, a pipe, a device or a socket; that it is a pointer of Git LFS.
///
/// ```
/// use unet3p_files::{Content, open};
///
/// let error = open(std::env::temp_dir().as_path(), Content::Weights).unwrap_err();
/// assert_eq!(error.to_string(), "is a folder, not a file");
/// ```
pub fn open(path: &Path, content: Content) -> io::Result<(File, u64)> {
    let metadata = std::fs::metadata(path)?;
    check(&metadata)?;
    let mut file = File::open(path)?;
    let length = metadata.len();
    if (POINTER.len() as u64..=POINTER_BYTES).contains(&length) {
        let mut head = [0; POINTER.len()];
        let whole = file.read_exact(&mut head).is_ok();
        if whole && head == POINTER {
            let wanted = match content {
                Content::Weights => "weights",
                Content::Other => "file itself",
            };
            let problem = format!("is a Git LFS pointer, not the {wanted}: run `git lfs pull`");
            return Err(io::Error::new(ErrorKind::InvalidData, problem));
        }
        file.rewind()?;
    }
    Ok((file, length))
}

fn check(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let kind = kind(metadata.file_type());
    let error = if metadata.is_dir() { ErrorKind::IsADirectory } else { ErrorKind::InvalidInput };
    Err(io::Error::new(error, format!("is {kind}, not a file")))
}

#[cfg(unix)]
fn kind(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        _ if kind.is_dir() => "a folder",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn kind(kind: FileType) -> &'static str {
    if kind.is_dir() { "a folder" } else { "a device" }
}
