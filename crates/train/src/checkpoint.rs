//! The state of a run as a file: what a run that was killed goes on from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors, View};

use crate::progress::Progress;
use crate::{Error, Result};

/// The newest checkpoint, in the run folder.
pub(crate) const FILE_NAME: &str = "checkpoint.safetensors";
/// The one before it: there is always a whole one, whenever a run is killed.
const PREVIOUS: &str = "checkpoint.previous.safetensors";
/// The folder for what is unfinished. safetensors writes under a random name in the file's own folder first, which a run that
/// is killed leaves behind: the next checkpoint removes all of it.
const UNFINISHED: &str = ".unet3p-checkpoint.tmp";
/// Keys of the metadata.
const PROGRESS: &str = "progress";
const CONFIG: &str = "config";

/// A run between two steps.
pub(crate) struct Checkpoint {
    pub(crate) progress: Progress,
    /// The configuration of its steps as TOML; nothing in checkpoints of versions that did not note it.
    pub(crate) config: Option<String>,
    /// Weights, statistics, the average and the optimizer's memory, f32.
    pub(crate) tensors: HashMap<String, Tensor>,
}

/// Whether the folder has a checkpoint.
pub(crate) fn exists(run_dir: &Path) -> bool {
    [FILE_NAME, PREVIOUS].iter().any(|name| run_dir.join(name).exists())
}

/// Writes a checkpoint beside the newest one and puts it in its place once it is on the disk.
///
/// # Errors
/// Where it cannot be written: the newest one is then as it was.
pub(crate) fn save(
    run_dir: &Path,
    progress: &Progress,
    config: String,
    tensors: Vec<(String, Tensor)>,
) -> Result<()> {
    let (newest, folder) = (run_dir.join(FILE_NAME), run_dir.join(UNFINISHED));
    let unfinished = folder.join(FILE_NAME);
    let tensors = tensors.into_iter().map(|(name, tensor)| Ok((name, Stored::new(&tensor)?)));
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    let progress = serde_json::to_string(progress).map_err(|e| Error::io(&newest, "write", e.into()))?;
    let metadata = HashMap::from([(PROGRESS.to_string(), progress), (CONFIG.to_string(), config)]);
    let write = || -> std::io::Result<()> {
        remove(&folder)?;
        fs::create_dir(&folder)?;
        // A temporary file is private; the checkpoint has the mode of an ordinary file.
        let mode = File::create(&unfinished)?.metadata()?.permissions();
        safetensors::serialize_to_file(tensors, Some(metadata), &unfinished).map_err(
            |error| match error {
                safetensors::SafeTensorError::IoError(error) => error,
                other => std::io::Error::other(other),
            },
        )?;
        fs::set_permissions(&unfinished, mode)?;
        File::open(&unfinished)?.sync_all()
    };
    if let Err(error) = write() {
        // The first error is the one to tell.
        let _ = remove(&folder);
        return Err(Error::io(&newest, "write", error));
    }
    let rename = |from: &Path, to: &Path| fs::rename(from, to).map_err(|e| Error::io(from, "rename", e));
    if newest.exists() {
        rename(&newest, &run_dir.join(PREVIOUS))?;
    }
    rename(&unfinished, &newest)?;
    unet3p_files::sync_folder(run_dir);
    remove(&folder).map_err(|e| Error::io(&folder, "remove", e))
}

/// Removes a folder, if it is there.
fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The newest checkpoint of a run folder, if it has one.
///
/// # Errors
/// [`Error::Checkpoint`] for a file that is damaged; it says which whole one is left.
pub(crate) fn load(run_dir: &Path, device: &Device) -> Result<Option<Checkpoint>> {
    let (newest, previous) = (run_dir.join(FILE_NAME), run_dir.join(PREVIOUS));
    if !newest.exists() {
        // Killed between two renames, or never.
        return if previous.exists() { read(&previous, device).map(Some) } else { Ok(None) };
    }
    read(&newest, device).map(Some).map_err(|error| match error {
        Error::Checkpoint { path, problem } => {
            let mend = match read(&previous, device) {
                Ok(whole) => format!(
                    "remove it to go on from {}, which is of step {}",
                    previous.display(),
                    whole.progress.step
                ),
                Err(_) => "the models in best/ and last/ are untouched; start a new run with \
                           --init-from to go on from one of them"
                    .to_string(),
            };
            Error::Checkpoint { path, problem: format!("{problem}; {mend}") }
        }
        other => other,
    })
}

fn read(path: &Path, device: &Device) -> Result<Checkpoint> {
    let damaged = |problem: String| Error::Checkpoint { path: path.to_path_buf(), problem };
    // Names a file that is cut short, or a pointer of Git LFS.
    unet3p_models::check_safetensors(path).map_err(|e| {
        let problem = std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string);
        damaged(format!("is damaged ({problem})"))
    })?;
    let bytes = fs::read(path).map_err(|e| Error::io(path, "read", e))?;
    let broken = |e: safetensors::SafeTensorError| damaged(format!("is damaged ({e})"));
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
    let file = SafeTensors::deserialize(&bytes).map_err(broken)?;
    let noted = |key: &str| metadata.metadata().as_ref().and_then(|metadata| metadata.get(key)).cloned();
    let config = noted(CONFIG);
    let progress = noted(PROGRESS).ok_or_else(|| damaged("is no checkpoint of a run".into()))?;
    let progress = serde_json::from_str(&progress)
        .map_err(|e| damaged(format!("is a checkpoint of another version ({e})")))?;
    let mut tensors = HashMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(damaged(format!("holds {name} as {:?} instead of F32", view.dtype())));
        }
        let tensor = Tensor::from_raw_buffer(view.data(), DType::F32, view.shape(), device)?;
        tensors.insert(name.to_string(), tensor);
    }
    Ok(Checkpoint { progress, config, tensors })
}

/// A tensor on its way to the file; its bytes exist only while they are written.
struct Stored {
    /// Flat, f32, in the host's memory.
    values: Tensor,
    shape: Vec<usize>,
}

impl Stored {
    fn new(tensor: &Tensor) -> Result<Self> {
        let values = tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?;
        Ok(Self { values, shape: tensor.dims().to_vec() })
    }
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        // A flat f32 tensor on the CPU can always be read.
        let values = self.values.to_vec1::<f32>().unwrap_or_default();
        Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }
    fn data_len(&self) -> usize {
        self.values.elem_count() * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Monitor;

    fn checkpoint(step: usize) -> (Progress, Vec<(String, Tensor)>) {
        let values: Vec<f32> = (0..6).map(|i| (i as f32 - step as f32).exp()).collect();
        let tensor = Tensor::from_vec(values, (2, 3), &Device::Cpu).unwrap();
        (Progress { step, ..Progress::start(1, Monitor::Dice) }, vec![("w".to_string(), tensor)])
    }

    fn write(dir: &Path, step: usize) {
        let (progress, tensors) = checkpoint(step);
        save(dir, &progress, format!("{step}"), tensors).unwrap();
    }

    fn step(dir: &Path) -> usize {
        let read = load(dir, &Device::Cpu).unwrap().unwrap();
        let (progress, tensors) = checkpoint(read.progress.step);
        assert_eq!(read.progress, progress);
        assert_eq!(read.config, Some(format!("{}", progress.step)));
        let values = |t: &Tensor| t.to_vec2::<f32>().unwrap();
        assert_eq!(values(&read.tensors["w"]), values(&tensors[0].1));
        progress.step
    }

    #[test]
    fn the_newest_is_read_back_and_the_one_before_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path(), &Device::Cpu).unwrap().is_none() && !exists(dir.path()));
        write(dir.path(), 1);
        write(dir.path(), 2);
        assert_eq!(step(dir.path()), 2);
        // Killed between the two renames.
        fs::remove_file(dir.path().join(FILE_NAME)).unwrap();
        assert!(exists(dir.path()));
        assert_eq!(step(dir.path()), 1);
    }

    #[test]
    fn a_damaged_one_is_named_with_what_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let newest = dir.path().join(FILE_NAME);
        write(dir.path(), 3);
        let whole = fs::read(&newest).unwrap();
        for length in [0, 4, 30, whole.len() / 2, whole.len() - 1] {
            fs::write(&newest, &whole[..length]).unwrap();
            let error = load(dir.path(), &Device::Cpu).err().unwrap().to_string();
            assert!(error.contains(FILE_NAME) && error.contains("--init-from"), "{length}: {error}");
        }
        fs::write(&newest, &whole).unwrap();
        write(dir.path(), 4);
        fs::write(&newest, &whole[..20]).unwrap();
        let error = load(dir.path(), &Device::Cpu).err().unwrap().to_string();
        assert!(error.contains(PREVIOUS) && error.contains("step 3"), "{error}");
        fs::remove_file(&newest).unwrap();
        assert_eq!(step(dir.path()), 3);
    }

    #[test]
    fn one_that_cannot_be_written_leaves_the_newest() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 1);
        fs::write(dir.path().join(UNFINISHED), "").unwrap();
        let (progress, tensors) = checkpoint(2);
        let error = save(dir.path(), &progress, String::new(), tensors).unwrap_err().to_string();
        assert!(error.contains(FILE_NAME), "{error}");
        assert_eq!(step(dir.path()), 1);
    }
}
