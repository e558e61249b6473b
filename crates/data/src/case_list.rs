//! Lists of images as CSV files: which columns are the channels of a case.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use csv::StringRecord;

use crate::channels::numbered;
use crate::{Error, Preprocessor, Result, read_text};

/// The column of images, and what the names of further channels begin with.
const IMAGE: &str = "image";
/// Columns that hold no image.
const OTHERS: [&str; 3] = ["mask", "group", "split"];
/// Endings of files that are images, without the dot.
const ENDINGS: [&str; 7] = ["png", "jpg", "jpeg", "tif", "tiff", "nii", "gz"];

/// The images of one case in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedCase {
    /// The first image's path as the list says it, without its ending.
    pub name: PathBuf,
    /// One file, or one for each channel in the order of the channels.
    pub files: Vec<PathBuf>,
}

impl Preprocessor {
    /// The cases of a CSV list: the column `image`, with `image_1`, `image_2`, ... for further channels, or columns with
    /// the channels' own names. Paths are relative to the list. Other columns are passed over.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] where the list cannot be read, lacks a channel, or leaves a file out.
    ///
    /// ```
    /// use unet3p_data::Preprocessor;
    /// # let dir = tempfile::tempdir().unwrap();
    /// let list = dir.path().join("cases.csv");
    /// std::fs::write(&list, "patient,t2,t1\np1,p1_t2.nii.gz,p1_t1.nii.gz\n").unwrap();
    /// let mr = Preprocessor::for_channels(vec!["t1".into(), "t2".into()]);
    /// let cases = mr.read_list(&list)?;
    /// assert_eq!(cases[0].files, [dir.path().join("p1_t1.nii.gz"), dir.path().join("p1_t2.nii.gz")]);
    /// # Ok::<(), unet3p_data::Error>(())
    /// ```
    pub fn read_list(&self, path: &Path) -> Result<Vec<ListedCase>> {
        let table = Table::read(path)?;
        let columns = table.columns_for(self)?;
        let case = |record: &std::result::Result<StringRecord, csv::Error>| match record {
            Ok(record) => table.case(record, &columns),
            Err(error) => Err(table.broken(error)),
        };
        table.records.iter().map(case).collect()
    }
}

fn broken(path: &Path, error: &csv::Error) -> Error {
    Error::file(path, format!("is no list of images and masks: {error}"))
}

/// A CSV file, and which of its columns are images.
pub(crate) struct Table {
    path: PathBuf,
    pub(crate) headers: StringRecord,
    pub(crate) records: Vec<std::result::Result<StringRecord, csv::Error>>,
    /// The columns of images.
    images: Vec<usize>,
    /// The names of their channels; of several columns `image` the numbers.
    pub(crate) names: Vec<String>,
}

impl Table {
    /// Reads a list that has one column of images or more.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let headers = reader.headers().map_err(|error| broken(path, &error))?.clone();
        let records: Vec<_> = reader.into_records().collect();
        let mut seen = BTreeSet::new();
        if let Some(twice) = headers.iter().find(|header| !header.is_empty() && !seen.insert(*header)) {
            return Err(Error::file(path, format!("has two columns named {twice}; rename one of them")));
        }
        let mut table =
            Self { path: path.to_path_buf(), headers, records, images: Vec::new(), names: Vec::new() };
        if table.column(IMAGE).is_some() {
            table.numbered()?;
        } else {
            table.named()?;
        }
        Ok(table)
    }

    /// Where a column stands.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.headers.iter().position(|header| header == name)
    }

    /// The error of a column that is not there.
    pub(crate) fn lacks(&self, column: &str) -> Error {
        let found: Vec<&str> = self.headers.iter().collect();
        Error::file(&self.path, format!("has no column named {column}, only {}", found.join(", ")))
    }

    /// The error of a line that cannot be read.
    pub(crate) fn broken(&self, error: &csv::Error) -> Error {
        broken(&self.path, error)
    }

    /// The columns image, image_1, image_2, ...
    fn numbered(&mut self) -> Result<()> {
        self.images = std::iter::once(IMAGE.to_owned())
            .chain((1..).map(|channel| format!("{IMAGE}_{channel}")))
            .map_while(|name| self.column(&name))
            .collect();
        let next = self.images.len();
        // Other numbers and spellings would be left out silently.
        let other = self.headers.iter().enumerate().find(|(column, header)| {
            let is_numbered = header
                .to_lowercase()
                .strip_prefix(IMAGE)
                .is_some_and(|rest| rest.trim_start_matches('_').chars().all(|c| c.is_ascii_digit()));
            is_numbered && !self.images.contains(column)
        });
        if let Some((_, other)) = other {
            let problem = format!("has a column {other}, and none named {IMAGE}_{next}");
            return Err(Error::file(&self.path, problem));
        }
        self.names = numbered(next);
        Ok(())
    }

    /// The columns in which a line names an image.
    fn named(&mut self) -> Result<()> {
        let records = || self.records.iter().filter_map(|record| record.as_ref().ok());
        let is_image = |text: &str| {
            let ending = Path::new(text).extension().map(|ending| ending.to_string_lossy().to_lowercase());
            ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
        };
        let names_images = |column: usize| records().any(|record| record.get(column).is_some_and(is_image));
        let columns = self.headers.iter().enumerate();
        let images: Vec<(usize, String)> = columns
            .filter(|(column, header)| !OTHERS.contains(header) && names_images(*column))
            .map(|(column, header)| (column, header.to_owned()))
            .collect();
        if images.is_empty() {
            return Err(self.lacks(IMAGE));
        }
        (self.images, self.names) = images.into_iter().unzip();
        Ok(())
    }

    /// The columns in the order of the network's channels: by name where the list and the network name them, else as they
    /// stand.
    pub(crate) fn columns_for(&self, how: &Preprocessor) -> Result<Vec<usize>> {
        let wanted = &how.channel_names;
        let are_numbers = |names: &[String]| *names == numbered(names.len());
        let are_named = wanted.iter().all(|name| self.names.contains(name));
        if how.files_per_case() < 2 || (are_numbers(&self.names) && !are_named) {
            return Ok(self.images.clone());
        }
        if are_numbers(wanted) && !are_named {
            log::warn!(
                "{}: the columns {} are taken as they stand, because the network's channels have no names",
                self.path.display(),
                self.names.join(", ")
            );
            return Ok(self.images.clone());
        }
        let of_channel = |name: &String| self.column(name).ok_or_else(|| self.lacks(name));
        let columns: Vec<usize> = wanted.iter().map(of_channel).collect::<Result<_>>()?;
        match self.images.iter().position(|column| !columns.contains(column)) {
            Some(extra) => {
                let problem = format!(
                    "has a column {} of images, which is no channel of the network: it takes {}",
                    self.names[extra],
                    how.describe_channels()
                );
                Err(Error::file(&self.path, problem))
            }
            None => Ok(columns),
        }
    }

    /// The images of a line.
    pub(crate) fn case(&self, record: &StringRecord, columns: &[usize]) -> Result<ListedCase> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let mut files = Vec::with_capacity(columns.len());
        for &column in columns {
            let cell = record.get(column).unwrap_or_default();
            if cell.is_empty() {
                let line = record.position().map_or(0, csv::Position::line);
                let problem = format!("names no file in the column {} of line {line}", &self.headers[column]);
                return Err(Error::file(&self.path, problem));
            }
            files.push(folder.join(cell));
        }
        // The first column's file names the case, whatever the order of the network's channels.
        let first = Path::new(record.get(self.images[0]).unwrap_or_default());
        let mut name = first.with_extension("");
        if first.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz")) {
            name.set_extension("");
        }
        Ok(ListedCase { name, files })
    }
}
