//! Where messages come from.

use crate::failure::Failure;
use bytes::Bytes;
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// One message, known to be readable.
#[derive(Debug)]
pub(super) enum Source {
    /// A file, read when its turn comes.
    File { path: PathBuf, length: u64 },
    /// What can be read only once, and therefore was: standard input or a pipe.
    Held { name: String, content: Bytes },
}

impl Source {
    /// What to call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Held { name, .. } => name.clone(),
        }
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::File { length, .. } => *length,
            Self::Held { content, .. } => content.len() as u64,
        }
    }

    /// The message.
    ///
    /// # Errors
    ///
    /// Where the file has gone since.
    pub(super) async fn read(self) -> io::Result<Bytes> {
        match self {
            Self::File { path, .. } => tokio::fs::read(path).await.map(Bytes::from),
            Self::Held { content, .. } => Ok(content),
        }
    }
}

/// Looks at all files before anything is sent; `-` is standard input, and so is no file at all.
///
/// # Errors
///
/// The first that cannot be read or has nothing in it.
pub(super) fn open(mut files: Vec<PathBuf>) -> Result<Vec<Source>, Failure> {
    let is_standard_input = |path: &Path| path.as_os_str() == "-";
    if files.is_empty() {
        files.push("-".into());
    }
    if files.iter().filter(|path| is_standard_input(path)).count() > 1 {
        return Err(Failure::usage("standard input (-) can be given only once"));
    }
    let open = |path: PathBuf| {
        let name = if is_standard_input(&path) {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        let source = if is_standard_input(&path) {
            held(name.clone(), io::stdin().lock())
        } else {
            open_file(path)
        };
        match source {
            Ok(source) if source.len() == 0 => Err(Failure::usage(format_args!(
                "there is no message in {name}: it is empty"
            ))),
            Ok(source) => Ok(source),
            Err(error) => Err(Failure::usage(format_args!("cannot read {name}: {error}"))),
        }
    };
    files.into_iter().map(open).collect()
}

fn open_file(path: PathBuf) -> io::Result<Source> {
    let file = File::open(&path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() {
        let length = metadata.len();
        return Ok(Source::File { path, length });
    }
    held(path.display().to_string(), file)
}

fn held(name: String, mut reader: impl Read) -> io::Result<Source> {
    let mut content = Vec::new();
    reader.read_to_end(&mut content)?;
    let content = content.into();
    Ok(Source::Held { name, content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn a_file_is_checked_first_and_read_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("letter.eml");
        fs::write(&path, "Subject: x\n\ny\n").unwrap();
        let sources = open(vec![path.clone()]).unwrap();
        let [source] = <[Source; 1]>::try_from(sources).unwrap();
        assert_eq!(source.name(), path.display().to_string());
        assert_eq!(source.len(), 14);
        assert_eq!(source.read().await.unwrap(), "Subject: x\n\ny\n");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty.eml");
        fs::write(&empty, "").unwrap();
        let cases = [
            (
                vec![PathBuf::from("no/such.eml")],
                "cannot read no/such.eml: ",
            ),
            (vec![empty], "empty.eml: it is empty"),
            (vec![directory.path().to_owned()], "cannot read "),
            (vec!["-".into(), "-".into()], "only once"),
        ];
        for (files, part) in cases {
            let complaint = open(files).unwrap_err().to_string();
            assert!(complaint.contains(part), "{complaint}");
        }
    }
}
