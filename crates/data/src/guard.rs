//! Panics of other people's decoders end as errors.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::{Error, Result};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a decoder of another crate on the file `path`. A panic of the decoder becomes an error of that file.
///
/// What the decoder has half done must not be used after a panic: `decode` owns all that it changes.
///
/// # Errors
/// Those of `decode`, and [`Error::File`] where it panics.
///
/// ```
/// let caught = unet3p_data::guard("scan.png".as_ref(), || -> unet3p_data::Result<()> { panic!("index out of bounds") });
/// assert!(caught.unwrap_err().to_string().contains("scan.png"));
/// ```
pub fn guard<T, E: From<Error>>(path: &Path, decode: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(outer);
    result.unwrap_or_else(|_| {
        Err(Error::file(path, "is broken, or of a kind that its decoder cannot read: the decoder stopped")
            .into())
    })
}

/// Whether this thread is inside [`guard`], so that a panic will be an error. A program's panic hook has nothing to print
/// then.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_pass_and_panics_become_errors() {
        let path = Path::new("a.png");
        assert!(guard(path, || Ok::<_, Error>(is_guarded())).unwrap());
        let inner = guard(path, || {
            assert!(guard(Path::new("b.png"), || -> Result<()> { panic!("inner") }).is_err());
            Ok::<_, Error>(is_guarded())
        });
        assert!(inner.unwrap() && !is_guarded());
    }
}
