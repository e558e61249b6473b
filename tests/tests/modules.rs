//! The modules of the command line import each other in one direction.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules that each module imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// All source files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| sources(folder));
    files.into_iter().chain(below).filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

/// What follows each `crate::`: one name, or those in braces.
fn imported(text: &str) -> BTreeSet<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut names = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(name(rest));
            continue;
        };
        let (mut depth, mut is_start) = (0, true);
        for (at, letter) in group.char_indices() {
            match letter {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => is_start = true,
                letter if is_start && !letter.is_whitespace() => {
                    names.insert(name(&group[at..]));
                    is_start = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// A way from a module back to itself.
fn circle(imports: &Imports, way: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
    let last = way.last()?.clone();
    if let Some(first) = way[..way.len() - 1].iter().position(|module| *module == last) {
        return Some(way[first..].to_vec());
    }
    if !done.insert(last.clone()) {
        return None;
    }
    for next in imports.get(&last).into_iter().flatten() {
        way.push(next.clone());
        let found = circle(imports, way, done);
        way.pop();
        if found.is_some() {
            return found;
        }
    }
    None
}

#[test]
fn no_module_of_the_command_line_imports_itself_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/cli/src");
    let mut imports = Imports::new();
    for path in sources(&root) {
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        let module = first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_string();
        imports.entry(module).or_default().extend(imported(&fs::read_to_string(&path).unwrap()));
    }
    let modules: BTreeSet<String> = imports.keys().cloned().collect();
    for (module, others) in &mut imports {
        others.retain(|other| other != module && modules.contains(other));
    }
    assert!(imports["train"].contains("report"), "{imports:?}");
    let mut done = BTreeSet::new();
    for module in &modules {
        if let Some(way) = circle(&imports, &mut vec![module.clone()], &mut done) {
            panic!("{}", way.join(" -> "));
        }
    }
}

#[test]
fn groups_are_read() {
    let found = imported("use crate::a;\nuse crate::{b::{x, y}, c};\nfn f() { crate::d::e(); }");
    assert_eq!(found.into_iter().collect::<String>(), "abcd");
    let imports = Imports::from([("a".into(), ["b".into()].into()), ("b".into(), ["a".into()].into())]);
    let found = circle(&imports, &mut vec!["a".into()], &mut BTreeSet::new()).unwrap();
    assert_eq!(found, ["a", "b", "a"]);
}
