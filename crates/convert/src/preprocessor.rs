//! The `preprocessor_config.json` of a converted checkpoint: the source's own, what people made of it, or a default.

use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use unet3p_data::{Layout, Preprocessor};
use unet3p_files::{Content, MAX_TEXT, decode, open};

use crate::Error;

/// The file beside a checkpoint that describes itself, where it fits a network of `in_channels`.
pub(crate) fn beside(source: &Path, in_channels: usize) -> Result<Option<Vec<u8>>, Error> {
    let path = source.with_file_name(Preprocessor::FILE_NAME);
    let Some(file) = read(&path)? else { return Ok(None) };
    match misfit(&file, in_channels) {
        None => Ok(Some(file)),
        Some(problem) => {
            log::warn!("{}: not taken over: {problem}", path.display());
            Ok(None)
        }
    }
}

/// Writes the file into the `new` folder that will replace `folder`: `own`, else the one that is there already and fits,
/// else the default where images can have as many channels. Nobody's settings are lost: what is replaced gets another
/// name. Tells whether the default is there then because nobody said anything.
pub(crate) fn save(
    folder: &Path,
    new: &Path,
    in_channels: usize,
    own: Option<Vec<u8>>,
) -> Result<bool, Error> {
    let path = folder.join(Preprocessor::FILE_NAME);
    let is_own = own.is_some();
    let wanted = own.or_else(|| Some(default(in_channels)?.to_json().into_bytes()));
    if let Some(found) = read(&path)?.filter(|found| Some(found) != wanted.as_ref()) {
        if is_default(&found) {
            // Nobody's settings: left behind.
        } else if !is_own && misfit(&found, in_channels).is_none() {
            log::warn!("{}: kept; see that it fits the new weights", path.display());
            write(&new.join(Preprocessor::FILE_NAME), &found)?;
            return Ok(false);
        } else {
            let old = free_name(folder);
            write(&new.join(&old), &found)?;
            let old = folder.join(old);
            let why = misfit(&found, in_channels).unwrap_or_else(|| "the weights come with their own".into());
            log::warn!("{}: replaced: {why}; what was there is now {}", path.display(), old.display());
        }
    }
    let Some(file) = wanted else {
        log::warn!(
            "{}: no {}, because images have 1 or 3 channels and this network takes {in_channels}",
            folder.display(),
            Preprocessor::FILE_NAME
        );
        return Ok(false);
    };
    write(&new.join(Preprocessor::FILE_NAME), &file)?;
    Ok(!is_own && is_default(&file))
}

/// Values over 255 and nothing more, where images have so many channels.
fn default(in_channels: usize) -> Option<Preprocessor> {
    let layout = match in_channels {
        1 => Layout::Gray,
        3 => Layout::Rgb,
        _ => return None,
    };
    Some(Preprocessor { layout, ..Preprocessor::default() })
}

fn is_default(file: &[u8]) -> bool {
    parse(file).is_ok_and(|found| default(found.channels()) == Some(found))
}

/// Why a file is none for a network of `in_channels`.
fn misfit(file: &[u8], in_channels: usize) -> Option<String> {
    match parse(file) {
        Ok(found) if found.channels() == in_channels => None,
        Ok(found) => Some(format!(
            "its layout has {} channels, and this network takes {in_channels}",
            found.channels()
        )),
        Err(problem) => Some(problem),
    }
}

fn parse(file: &[u8]) -> Result<Preprocessor, String> {
    let text = decode(file.to_vec()).map_err(|error| error.to_string())?;
    Preprocessor::from_json(&text).map_err(|error| error.to_string())
}

/// A name for what is replaced, of which no earlier one is replaced in turn.
fn free_name(folder: &Path) -> String {
    let name = |number: usize| format!("{}.{number}.old", Preprocessor::FILE_NAME);
    (1..).map(name).find(|old| !folder.join(old).exists()).unwrap_or_else(|| name(0))
}

/// The bytes of a file of text that may be there.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let bytes = || {
        let mut bytes = Vec::new();
        let (file, _) = open(path, Content::Other)?;
        file.take(MAX_TEXT).read_to_end(&mut bytes).map(|_| bytes)
    };
    match bytes() {
        Ok(file) => Ok(Some(file)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::io(path, cause)),
    }
}

/// Writes a file whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    unet3p_files::write(path, |file| file.write_all(bytes)).map_err(|cause| Error::io(path, cause))
}
