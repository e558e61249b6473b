//! A model on disk: `config.json` and `model.safetensors`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use crate::config::UNet3PlusConfig;
use crate::error::{Error, Result};
use crate::network::{UNet3Plus, check_weights};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
/// Bytes before the header of a safetensors file: the header's length.
const LENGTH_BYTES: u64 = 8;
/// The largest header that the format allows.
const MAX_HEADER: u64 = 100_000_000;

impl UNet3Plus {
    /// Loads a model folder. Weights of 16 bits are widened to f32.
    ///
    /// # Errors
    /// Names the file that is missing, damaged or does not fit, and how.
    pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        let path = folder.join(CONFIG);
        let json = fs::read_to_string(&path).map_err(|source| Error::open(&path, source))?;
        let config = UNet3PlusConfig::from_json_of(&json, &path.display().to_string())
            .map_err(|error| error.in_file(&path))?;
        let path = folder.join(WEIGHTS);
        let io = |source| Error::open(&path, source);
        let file = File::open(&path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        read(&config, BufReader::new(file), length, device).map_err(|error| error.in_file(&path))
    }

    /// A model from the contents of `config.json` and `model.safetensors`, as for one compiled into a program.
    ///
    /// # Errors
    /// As [`UNet3Plus::load`].
    pub fn from_buffers(config: &str, weights: &[u8], device: &Device) -> Result<Self> {
        read(&UNet3PlusConfig::from_json(config)?, Cursor::new(weights), weights.len() as u64, device)
    }

    /// Writes a model folder, with weights as f32, f16 or bf16. Each file is complete or not there: it is written
    /// under a temporary name and renamed.
    ///
    /// # Errors
    /// Where `dtype` is none of them, or a file cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>, dtype: DType) -> Result<()> {
        let folder = folder.as_ref();
        let target = match dtype {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            other => {
                return Err(Error::Input(format!("weights are saved as f32, f16 or bf16, not {other:?}")));
            }
        };
        fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_path_buf(), source })?;
        let json = self.config().to_json()?;
        let views = self.parameters().all().into_iter().map(|(name, variable)| {
            let tensor = variable.as_detached_tensor().to_device(&Device::Cpu)?.to_dtype(dtype)?;
            Ok((
                name,
                Encoded { dtype: target, shape: tensor.dims().to_vec(), bytes: little_endian(&tensor)? },
            ))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        let metadata = HashMap::from([("config".to_string(), json.clone())]);
        let path = folder.join(WEIGHTS);
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|error| Error::Safetensors(error.to_string()).in_file(&path))?;
        write(&path, &bytes)?;
        write(&folder.join(CONFIG), json.as_bytes())
    }
}

/// Reads the header, then one tensor after the other, so that no second copy of the file is ever in memory.
fn read(
    config: &UNet3PlusConfig,
    mut file: impl Read + Seek,
    length: u64,
    device: &Device,
) -> Result<UNet3Plus> {
    let damaged = |what: String| Error::Safetensors(what);
    let cut = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => damaged(format!("its {length} bytes are too few: truncated?")),
        _ => Error::Read(error),
    };
    let mut size = [0; LENGTH_BYTES as usize];
    file.read_exact(&mut size).map_err(cut)?;
    let header = u64::from_le_bytes(size);
    // what is no plain file has a length of 0 and bytes all the same
    if header > MAX_HEADER || header > length.saturating_sub(LENGTH_BYTES) {
        return Err(damaged(format!(
            "a header of {header} bytes in a file of {length}: truncated, or another format"
        )));
    }
    let mut bytes = vec![0; header as usize];
    file.read_exact(&mut bytes).map_err(cut)?;
    let metadata: Metadata = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    let start = LENGTH_BYTES + header;
    let (data, rest) = (metadata.data_len(), length.saturating_sub(start));
    if data as u64 != rest {
        return Err(damaged(format!(
            "the header tells of {data} bytes of data, {rest} are there: truncated?"
        )));
    }
    let infos: BTreeMap<String, TensorInfo> = tensors_of(&metadata);
    check_weights(config, |name| infos.get(name).map(|info| info.shape.clone()), infos.keys())?;
    let mut tensors = HashMap::with_capacity(infos.len());
    // the largest first: a tensor exists up to twice while it is read, and so while little else is there
    let mut infos: Vec<_> = infos.into_iter().collect();
    infos.sort_by_key(|(_, info)| Reverse(info.data_offsets.1 - info.data_offsets.0));
    for (name, info) in infos {
        let (from, to) = info.data_offsets;
        file.seek(SeekFrom::Start(start + from as u64)).map_err(cut)?;
        let mut data = vec![0; to - from];
        file.read_exact(&mut data).map_err(cut)?;
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F64 => DType::F64,
            other => return Err(damaged(format!("{name} is of type {other:?}; weights are floating point"))),
        };
        let tensor = Tensor::from_raw_buffer(&data, dtype, &info.shape, &Device::Cpu)?;
        drop(data);
        // as a variable already, which the network takes as it is
        let variable = Var::from_tensor(&tensor.to_dtype(DType::F32)?.to_device(device)?)?;
        tensors.insert(name, variable.into_inner());
    }
    UNet3Plus::from_tensors(config, tensors, DType::F32, device)
}

fn tensors_of(metadata: &Metadata) -> BTreeMap<String, TensorInfo> {
    metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect()
}

/// A tensor as safetensors stores it.
struct Encoded {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl safetensors::View for Encoded {
    fn dtype(&self) -> Dtype {
        self.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        (&self.bytes).into()
    }
    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

fn little_endian(tensor: &Tensor) -> Result<Vec<u8>> {
    let flat = tensor.flatten_all()?;
    Ok(match tensor.dtype() {
        DType::F16 => {
            let values = flat.to_vec1::<half::f16>()?;
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        DType::BF16 => {
            let values = flat.to_vec1::<half::bf16>()?;
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        _ => flat.to_vec1::<f32>()?.iter().flat_map(|value| value.to_le_bytes()).collect(),
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".unet3p-").suffix(".tmp");
        // temporary files are private by default; these become ordinary files, subject to the umask
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|source| Error::Io { path: path.to_path_buf(), source })
}
