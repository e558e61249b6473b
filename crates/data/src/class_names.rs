//! Names of classes.

/// Checks the names of the classes 1, 2, ... They tell classes apart in columns, curves, scores and colours, so each
/// has one of its own, and one that a line of text can hold. Commas and quotes are fine: CSV files quote them.
///
/// # Errors
/// What is wrong, and what would be right.
///
/// ```
/// use unet3p_data::check_class_names;
///
/// assert!(check_class_names(&["liver", "tumor, or cyst"]).is_ok());
/// let problem = check_class_names(&["liver", "liver"]).unwrap_err();
/// assert!(problem.contains("classes 1 and 2 are both named \"liver\""));
/// ```
pub fn check_class_names<S: AsRef<str>>(names: &[S]) -> Result<(), String> {
    for (index, name) in names.iter().enumerate() {
        let (id, name) = (index + 1, name.as_ref());
        if name.trim().is_empty() {
            return Err(format!("class {id} has an empty name ({name:?}): every class needs one"));
        }
        if name.trim() != name || name.contains(char::is_control) {
            return Err(format!(
                "class {id} is named {name:?}: a name has no line breaks, no other control characters, and no \
                 spaces at its ends"
            ));
        }
        if let Some(first) = names[..index].iter().position(|other| other.as_ref() == name) {
            return Err(format!(
                "classes {} and {id} are both named {name:?}: every class needs a name of its own",
                first + 1
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_fit_a_line() {
        for fine in [&[][..], &["liver"], &["a", "A"], &["disc, or \"ring\"", "<b>", "\u{4E2D}", "1"]] {
            assert_eq!(check_class_names(fine), Ok(()), "{fine:?}");
        }
        for (wrong, part) in [
            (&["a", "b", "a"][..], "classes 1 and 3 are both named \"a\""),
            (&["a", ""], "class 2 has an empty name"),
            (&["  "], "class 1 has an empty name"),
            (&["a", "b\nc"], "class 2 is named \"b\\nc\""),
            (&["a", "a "], "spaces at its ends"),
        ] {
            let problem = check_class_names(wrong).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
