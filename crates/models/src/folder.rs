//! A model on disk: `config.json` and `model.safetensors`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom, Write};
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use safetensors::tensor::{Dtype, TensorInfo};
use unet3p_files::{NewFolder, read_text, recover_folder};

use crate::card::ModelCard;
use crate::config::UNet3PlusConfig;
use crate::error::{Error, Result};
use crate::finite;
use crate::header::{CONFIG_ENTRY, Header, cut, open};
use crate::network::{UNet3Plus, check_weights};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

/// The files of a model folder: whoever replaces the folder writes or removes them together. Other files in it are their
/// owner's.
pub const MODEL_FILES: [&str; 4] = [CONFIG, WEIGHTS, "preprocessor_config.json", ModelCard::FILE_NAME];

impl UNet3Plus {
    /// Loads a model folder. Weights of 16 bits are widened to f32.
    ///
    /// Weights that [`UNet3Plus::save`] wrote repeat the configuration; a `config.json` beside them has to be of the same
    /// network. Names and colours of classes may differ: those of `config.json` are used, and a warning says so.
    ///
    /// # Errors
    /// Names the file that is missing, damaged or does not fit, and how, and the tensor that holds NaN or infinite values.
    pub fn load(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        recover_folder(folder).map_err(|source| Error::Io { path: folder.to_path_buf(), source })?;
        let mut files = ModelFiles::open(folder)?;
        if files.difference(folder)?.is_some() {
            // Another process may have replaced the folder between the two.
            files = ModelFiles::open(folder)?;
        }
        if let Some(error) = files.difference(folder)? {
            return Err(error);
        }
        let ModelFiles { config, header, weights, length } = files;
        if let Some(written) = header.config() {
            let (written, _) = UNet3PlusConfig::parse(written)?;
            warn_of_names(&folder.join(CONFIG), &config, &written, "those of config.json are used");
        }
        read(&config, &header, weights, length, device).map_err(|error| error.in_file(folder.join(WEIGHTS)))
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
            let config = UNet3PlusConfig::from_json_of(config, &path.display().to_string())?;
            Self::warn_of_names_beside(path, &config);
            read(&config, &header, file, length, device)
        };
        load().map_err(|error: Error| error.in_file(path))
    }

    /// Warns where the weights of a model folder are read without its `config.json`, and that has other names or colours of
    /// classes than `config`, which they were written with.
    pub fn warn_of_names_beside(weights: impl AsRef<Path>, config: &UNet3PlusConfig) {
        let path = weights.as_ref().with_file_name(CONFIG);
        if weights.as_ref().ends_with(WEIGHTS)
            && let Ok(json) = read_text(&path)
            && let Ok((other, _)) = UNet3PlusConfig::parse(&json)
        {
            let used =
                "those of the weights are used (the others by naming the folder, or by convert --config)";
            warn_of_names(&path, &other, config, used);
        }
    }

    /// A model from the contents of `config.json` and `model.safetensors`, as for one compiled into a program.
    ///
    /// # Errors
    /// As [`UNet3Plus::load`].
    pub fn from_buffers(config: &str, weights: &[u8], device: &Device) -> Result<Self> {
        let (config, length) = (UNet3PlusConfig::from_json(config)?, weights.len() as u64);
        let mut file = Cursor::new(weights);
        let header = Header::read(&mut file, length)?;
        match difference(&config, &header, Path::new(""))? {
            None => read(&config, &header, file, length, device),
            Some(error) => Err(error),
        }
    }

    /// Writes a model folder, with weights as f32, f16 or bf16. One that is there is replaced in one step, with all that
    /// it holds beside configuration and weights kept.
    ///
    /// # Errors
    /// Where `dtype` is none of them, a weight is NaN, infinite or more than `dtype` can hold, another process is writing
    /// the folder, or a file cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>, dtype: DType) -> Result<()> {
        let folder = folder.as_ref();
        let io = |source| Error::Io { path: folder.to_path_buf(), source };
        let new = NewFolder::of(folder).map_err(io)?;
        self.save_into(new.path(), dtype)?;
        new.replace(&[CONFIG, WEIGHTS]).map_err(io)
    }

    /// Writes `config.json` and `model.safetensors` into a folder that is there, each whole: one that is about to become a
    /// model folder.
    ///
    /// # Errors
    /// As [`UNet3Plus::save`].
    pub fn save_into(&self, folder: impl AsRef<Path>, dtype: DType) -> Result<()> {
        let folder = folder.as_ref();
        let target = match dtype {
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            other => {
                return Err(Error::Input(format!("weights are saved as f32, f16 or bf16, not {other:?}")));
            }
        };
        let json = self.config().to_json()?;
        let views = self.parameters().all().into_iter().map(|(name, variable)| {
            let tensor = variable.as_detached_tensor().to_device(&Device::Cpu)?.to_dtype(dtype)?;
            let bytes = little_endian(&tensor)?;
            finite::check(&name, target, &bytes)?;
            Ok((name, Encoded { dtype: target, shape: tensor.dims().to_vec(), bytes }))
        });
        let views = views.collect::<Result<Vec<_>>>()?;
        let metadata = HashMap::from([(CONFIG_ENTRY.to_string(), json.clone())]);
        let path = folder.join(WEIGHTS);
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|error| Error::Safetensors(error.to_string()).in_file(&path))?;
        write(&path, &bytes)?;
        write(&folder.join(CONFIG), json.as_bytes())
    }

    /// Checks that all weights are finite, and no running variance negative.
    ///
    /// # Errors
    /// Names the first tensor that is not so.
    pub fn check_finite(&self) -> Result<()> {
        for (tensor, variable) in self.parameters().all() {
            if let Some(problem) = finite::weight_problem(&tensor, variable.as_tensor())? {
                return Err(Error::NotFinite { tensor, problem });
            }
        }
        Ok(())
    }
}

/// A model folder that is about to be read.
struct ModelFiles {
    config: UNet3PlusConfig,
    header: Header,
    weights: BufReader<File>,
    length: u64,
}

impl ModelFiles {
    fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG);
        let json = read_text(&path).map_err(|source| Error::open(&path, source))?;
        let config = UNet3PlusConfig::from_json_of(&json, &path.display().to_string())
            .map_err(|error| error.in_file(&path))?;
        let path = folder.join(WEIGHTS);
        let (mut weights, length) = open(&path)?;
        let header = Header::read(&mut weights, length).map_err(|error| error.in_file(&path))?;
        Ok(Self { config, header, weights, length })
    }

    fn difference(&self, folder: &Path) -> Result<Option<Error>> {
        difference(&self.config, &self.header, folder).map_err(|error| error.in_file(folder.join(WEIGHTS)))
    }
}

/// How the configuration of a folder differs from the one that the weights repeat, where they do.
fn difference(config: &UNet3PlusConfig, header: &Header, folder: &Path) -> Result<Option<Error>> {
    let Some(written) = header.config() else { return Ok(None) };
    let (written, _) = UNet3PlusConfig::parse(written)?;
    let difference = config.difference(&written)?;
    Ok(difference.map(|(key, value, written)| Error::ConfigDiffers {
        folder: folder.to_path_buf(),
        key,
        values: Box::new([value, written]),
    }))
}

/// Warns where the names or colours of classes in `config.json` are not those that the weights were written with.
fn warn_of_names(path: &Path, config: &UNet3PlusConfig, written: &UNet3PlusConfig, used: &str) {
    let said = |names: &dyn std::fmt::Debug| format!("{names:?}");
    let keys = [
        ("id2label", said(&config.id2label), said(&written.id2label)),
        ("label2color", said(&config.label2color), said(&written.label2color)),
    ];
    for (key, value, written) in keys.into_iter().filter(|(_, value, written)| value != written) {
        log::warn!(
            "{}: {key} = {value}, and {WEIGHTS} was written with {key} = {written}: {used}",
            path.display()
        );
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
        finite::check(&name, info.dtype, &data)?;
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
    unet3p_files::write(path, |file| file.write_all(bytes))
        .map_err(|source| Error::Io { path: path.to_path_buf(), source })
}
