//! What tells a model from others, whatever it is called.

use std::io;

use sha2::{Digest, Sha256};
use unet3p_files::{Content, open};

use crate::{Error, ModelSource, Result};

impl ModelSource {
    /// The SHA-256, in hexadecimal, of the model's weights and of how it prepares images: of what decides on its masks,
    /// wherever it lies.
    ///
    /// # Errors
    /// An error that names the file which cannot be read.
    ///
    /// ```
    /// let model = unet3p::ModelSource::resolve("liver-ct")?;
    /// assert_eq!(model.digest()?.len(), 64);
    /// # Ok::<(), unet3p::Error>(())
    /// ```
    pub fn digest(&self) -> Result<String> {
        let mut sum = Sha256::new();
        sum.update(format!("{:?}", self.load_preprocessor()?));
        match (self, self.weights()) {
            (Self::Bundled(bundled), _) => sum.update(bundled.weights),
            (_, None) => {}
            (_, Some(path)) => {
                open(&path, Content::Weights)
                    .and_then(|(mut file, _)| io::copy(&mut file, &mut sum))
                    .map_err(|source| Error::io(&path, "be read", source))?;
            }
        }
        Ok(format!("{:x}", sum.finalize()))
    }
}
