//! Writes the corpus, but for what needs HDF5's own library (`hdf5.py`).
#![forbid(unsafe_code)]

use std::fs;

fn main() -> std::io::Result<()> {
    for (target, seeds) in unet3p_fuzz::seeds::all() {
        let folder = unet3p_fuzz::corpus_folder().join(target);
        fs::create_dir_all(&folder)?;
        for (name, content) in seeds {
            fs::write(folder.join(name), content)?;
        }
    }
    Ok(())
}
