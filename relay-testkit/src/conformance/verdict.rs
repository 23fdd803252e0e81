//! Is it the transcript that is expected?

use similar::TextDiff;
use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
};

/// Set to write the transcripts anew from what happens, instead of comparing.
const REWRITE: &str = "RELAY_TESTKIT_REWRITE";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

/// `group::scenario` has its transcript in `group/scenario.txt`.
fn file(name: &str) -> PathBuf {
    let mut path = directory();
    path.extend(name.split("::"));
    path.set_extension("txt");
    path
}

/// Compares a transcript with the one that is kept.
///
/// # Errors
///
/// The difference, for people.
pub(super) fn compare(name: &str, found: &str) -> Result<(), String> {
    let path = file(name);
    if env::var_os(REWRITE).is_some() {
        return write(&path, found).map_err(|error| format!("{}: {error}", path.display()));
    }
    difference(&path, found)
}

fn difference(path: &Path, found: &str) -> Result<(), String> {
    let expected = fs::read_to_string(path).map_err(|error| {
        format!(
            "no transcript is kept in {} ({error}); after a look at this one, keep it with {REWRITE}=1:\n{found}",
            path.display()
        )
    })?;
    if expected == found {
        return Ok(());
    }
    let difference = TextDiff::from_lines(expected.as_str(), found);
    Err(format!(
        "the transcript is another than expected; where that is right, keep it with {REWRITE}=1\n{}",
        difference
            .unified_diff()
            .context_radius(5)
            .header("expected", "found")
    ))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)
}

/// Fails where a transcript is kept that no scenario yields.
///
/// # Errors
///
/// Which.
pub(super) fn no_transcript_is_left_over(names: &[String]) -> Result<(), String> {
    let expected: BTreeSet<_> = names.iter().map(|name| file(name)).collect();
    let groups = fs::read_dir(directory()).into_iter().flatten();
    let kept = groups
        .flat_map(|group| fs::read_dir(group.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().path());
    let left: Vec<_> = kept
        .filter(|path| !expected.contains(path))
        .map(|path| path.display().to_string())
        .collect();
    match left.is_empty() {
        true => Ok(()),
        false => Err(format!("no scenario yields {}", left.join(", "))),
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
