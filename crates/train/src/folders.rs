//! The sources of slices that a run reads: what they have to agree on.

use std::path::PathBuf;

use unet3p_data::{DatasetOptions, Layout, Normalize, Preprocessor, Size, SliceDataset, Source};

use crate::{Error, Result, TrainConfig};

/// The setting that names the sources.
const KEY: &str = "data.paths";

impl TrainConfig {
    /// How files become samples: what the configuration says, and the preprocessor of the sources. Without one a file for
    /// each channel (as many as the sources name, or other than 1 and 3) has z-scores, and one file is its values / 255.
    ///
    /// # Errors
    /// [`Error::Setting`] naming two sources that differ, channels that are not the network's, or a size that does not
    /// go together with a spacing; [`Error::Data`] for a path that is no source; the errors of [`TrainConfig::classes`].
    pub fn dataset_options(&self) -> Result<DatasetOptions> {
        Ok(DatasetOptions {
            classes: self.classes()?.map(|classes| classes.count),
            preprocessor: self.preprocessor()?,
            mask_name: self.data.mask_name.clone(),
            mask_values: self.data.mask_values.clone(),
            mask_colors: self.data.mask_colors.clone(),
            ignore_label: self.data.ignore_label,
        })
    }

    fn preprocessor(&self) -> Result<Preprocessor> {
        let channels = self.model.in_channels;
        let mut preprocessor = self.given_preprocessor()?;
        if preprocessor.channels() != channels {
            let (give, count) = (preprocessor.describe_channels(), preprocessor.channels());
            let allowed = format!("the images give {give}: set model.in_channels = {count}");
            return Err(Error::setting("model.in_channels", channels, allowed));
        }
        if let Some([height, width]) = self.data.resize {
            if let Some(spacing) = preprocessor.spacing {
                // Prediction brings volumes to the spacing: the network would see them at another size than here.
                let allowed = format!(
                    "the slices are prepared at a spacing of {spacing:?} mm; prepare them with --size instead"
                );
                return Err(Error::setting("data.resize", format!("[{height}, {width}]"), allowed));
            }
            preprocessor.size = Some(Size { height, width });
        }
        if let (Some(mean), Some(std)) = (&self.data.image_mean, &self.data.image_std) {
            preprocessor.do_normalize = true;
            (preprocessor.image_mean, preprocessor.image_std) = (mean.clone(), std.clone());
            let values = format!("{mean:?}, data.image_std = {std:?}");
            preprocessor
                .validate()
                .map_err(|error| Error::setting("data.image_mean", values, error.to_string()))?;
        }
        Ok(preprocessor)
    }

    /// The preprocessor of the sources, or what their channels and the network's ask for.
    fn given_preprocessor(&self) -> Result<Preprocessor> {
        let sources = self.sources()?;
        let given = common(&sources, "preprocessor_config.json", |source| Ok(source.preprocessor()?))?;
        if let Some((_, preprocessor)) = given {
            return Ok(preprocessor);
        }
        let named = common(&sources, "names of channels", |source| Ok(source.channel_names()?))?;
        let mut preprocessor = match (named, self.model.in_channels) {
            (Some((_, names)), _) => Preprocessor::for_channels(names),
            (None, 1) => return Ok(Preprocessor { layout: Layout::Gray, ..Preprocessor::default() }),
            (None, 3) => return Ok(Preprocessor::default()),
            (None, channels) => Preprocessor::for_numbered_channels(channels),
        };
        if self.data.image_mean.is_some() {
            // The mean and deviation that are given take the place of each image's own.
            preprocessor.normalize = Normalize::Fixed;
        }
        Ok(preprocessor)
    }

    /// Whether the number of channels is the configuration's alone, and more than one file of an image has.
    fn has_numbered_channels(&self) -> Result<bool> {
        let how = self.given_preprocessor()?;
        Ok(how.layout == Layout::Channels
            && how == Preprocessor::for_numbered_channels(self.model.in_channels))
    }

    /// Names of the classes 1, 2, ... that the sources tell, and the first source that does.
    pub(crate) fn index_names(&self) -> Result<Option<(PathBuf, Vec<String>)>> {
        let load = |source: &Source| {
            let names = source.class_names()?;
            Ok((!names.is_empty()).then_some(names))
        };
        common(&self.sources()?, "classes in dataset.json", load)
    }

    fn sources(&self) -> Result<Vec<Source>> {
        Ok(self.data.paths.iter().map(|path| Source::at(path)).collect::<unet3p_data::Result<_>>()?)
    }
}

/// Opens the sources. A folder without any image is a wrong setting.
pub(crate) fn open(config: &TrainConfig) -> Result<SliceDataset> {
    let error = match SliceDataset::open(&config.data.paths, &config.dataset_options()?) {
        Ok(dataset) => return Ok(dataset),
        Err(error) => error,
    };
    Err(match config.explain_ids(vec![error])?.swap_remove(0) {
        // Nothing but the configuration says that there are so many channels.
        error if config.has_numbered_channels()? => {
            let allowed = format!("{error}; images of one file each have 1 channel (gray) or 3 (colour)");
            Error::setting("model.in_channels", config.model.in_channels, allowed)
        }
        // Errors about a file's content name the file; only the lack of any image names a folder.
        unet3p_data::Error::File { path, problem } if path.is_dir() => {
            Error::setting(KEY, path.display(), problem)
        }
        error => error.into(),
    })
}

/// What all sources that have it hold alike, and the first of them.
fn common<T: PartialEq>(
    sources: &[Source],
    what: &str,
    load: impl Fn(&Source) -> Result<Option<T>>,
) -> Result<Option<(PathBuf, T)>> {
    let mut found: Option<(&Source, T)> = None;
    for source in sources {
        match (load(source)?, &found) {
            (Some(value), None) => found = Some((source, value)),
            (Some(value), Some((first, other))) if value != *other => {
                let value = format!("{}, {}", first.path().display(), source.path().display());
                let allowed = format!("the sources of a run need the same {what}, these two differ");
                return Err(Error::setting(KEY, value, allowed));
            }
            _ => {}
        }
    }
    Ok(found.map(|(source, value)| (source.path().to_path_buf(), value)))
}
