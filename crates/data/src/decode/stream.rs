//! The bytes of an image, from a file or from memory.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::{Error, Result};

/// What can be read at any place.
pub(super) trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// A stream that decoders share, whatever is behind it.
pub(super) type Stream<'a> = BufReader<Box<dyn ReadSeek + 'a>>;

/// How many bytes there are from where the stream stands, which it does again afterwards.
pub(super) fn rest(path: &Path, stream: &mut Stream<'_>) -> Result<u64> {
    let failed = |source| Error::io(path, "read", source);
    let here = stream.stream_position().map_err(failed)?;
    let end = stream.seek(SeekFrom::End(0)).map_err(failed)?;
    stream.seek(SeekFrom::Start(here)).map_err(failed)?;
    Ok(end.saturating_sub(here))
}
