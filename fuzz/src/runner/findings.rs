//! Files that a reader did not stand.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Keeps a file in `fuzz/findings/` under the reader's name and a checksum.
pub(super) fn keep(target: &str, kind: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("findings");
    fs::create_dir_all(&folder)?;
    let mut checksum = flate2::Crc::new();
    checksum.update(bytes);
    let path = folder.join(format!("{target}-{kind}-{:08x}", checksum.sum()));
    fs::write(&path, bytes)?;
    Ok(path)
}

/// Says where a finding is kept, or why it is not.
pub(super) fn report(target: &str, kind: &str, bytes: &[u8], what: &str) {
    match keep(target, kind, bytes) {
        Ok(path) => println!("FINDING {target}: {kind}: {what}\n  {}", path.display()),
        Err(error) => println!("FINDING {target}: {kind}: {what}\n  which cannot be kept: {error}"),
    }
}
