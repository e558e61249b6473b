//! A model on disk: `config.json` and `model.safetensors`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use safetensors::tensor::{Dtype, TensorInfo};

use crate::config::UNet3PlusConfig;
use crate::error::{Error, Result};
use crate::header::{CONFIG_ENTRY, Header, cut, open};
use crate::network::{UNet3Plus, check_weights};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

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
        let (mut file, length) = open(&path)?;
        let header = Header::read(&mut file, length).map_err(|error| error.in_file(&path))?;
        read(&config, &header, file, length, device).map_err(|error| error.in_file(&path))
    }

    /// Loads a single safetensors file, as [`UNet3Plus::save`] writes it: the configuration is in its metadata.
    ///
    /// # Errors
    /// Names the file and what is missing, damaged or does not fit.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use unet3p_models::{UNet3Plus, UNet3PlusConfig};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// let config = UNet3PlusConfig::builder().base_filters(4).build()?;
    /// UNet3Plus::init(&config, 0, DType::F32, &Device::Cpu)?.save(folder.path(), DType::F32)?;
    /// let model = UNet3Plus::load_file(folder.path().join("model.safetensors"), &Device::Cpu)?;
    /// assert_eq!(model.config(), &config);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load_file(path: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let path = path.as_ref();
        let (mut file, length) = open(path)?;
        let load = || {
            let header = Header::read(&mut file, length)?;
            let config = header.config().ok_or(Error::NoConfig)?;
            read(
                &UNet3PlusConfig::from_json_of(config, &path.display().to_string())?,
                &header,
                file,
                length,
                device,
            )
        };
        load().map_err(|error: Error| error.in_file(path))
    }

    /// A model from the contents of `config.json` and `model.safetensors`, as for one compiled into a program.
    ///
    /// # Errors
    /// As [`UNet3Plus::load`].
    pub fn from_buffers(config: &str, weights: &[u8], device: &Device) -> Result<Self> {
        let (config, length) = (UNet3PlusConfig::from_json(config)?, weights.len() as u64);
        let mut file = Cursor::new(weights);
        read(&config, &Header::read(&mut file, length)?, file, length, device)
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
        let metadata = HashMap::from([(CONFIG_ENTRY.to_string(), json.clone())]);
        let path = folder.join(WEIGHTS);
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|error| Error::Safetensors(error.to_string()).in_file(&path))?;
        write(&path, &bytes)?;
        write(&folder.join(CONFIG), json.as_bytes())
    }
}

/// Reads one tensor after the other, so that no second copy of the file is ever in memory.
fn read(
    config: &UNet3PlusConfig,
    header: &Header,
    mut file: impl Read + Seek,
    length: u64,
    device: &Device,
) -> Result<UNet3Plus> {
    let infos: BTreeMap<String, TensorInfo> = header.tensors();
    check_weights(config, |name| infos.get(name).map(|info| info.shape.clone()), infos.keys())?;
    let mut tensors = HashMap::with_capacity(infos.len());
    // the largest first: a tensor exists up to twice while it is read, and so while little else is there
    let mut infos: Vec<_> = infos.into_iter().collect();
    infos.sort_by_key(|(_, info)| Reverse(info.data_offsets.1 - info.data_offsets.0));
    for (name, info) in infos {
        let (from, to) = info.data_offsets;
        file.seek(SeekFrom::Start(header.start + from as u64)).map_err(|error| cut(error, length))?;
        let mut data = vec![0; to - from];
        file.read_exact(&mut data).map_err(|error| cut(error, length))?;
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::F64 => DType::F64,
            other => {
                let what = format!("{name} is of type {other:?}; weights are floating point");
                return Err(Error::Safetensors(what));
            }
        };
        let tensor = Tensor::from_raw_buffer(&data, dtype, &info.shape, &Device::Cpu)?;
        drop(data);
        // as a variable already, which the network takes as it is
        let variable = Var::from_tensor(&tensor.to_dtype(DType::F32)?.to_device(device)?)?;
        tensors.insert(name, variable.into_inner());
    }
    UNet3Plus::from_tensors(config, tensors, DType::F32, device)
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

/// Writes a file of a model folder: complete, or not there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
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
