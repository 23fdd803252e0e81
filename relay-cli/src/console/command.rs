//! What a typed line asks for.

use super::machine::MAX_FRAME;
use bytes::Bytes;
use relay_proto::{CloseCode, Frame};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

/// What may be typed, for `/help` and `--help`.
macro_rules! what_to_type {
    () => {
        "  anything else        send the line as a text frame
  /text TEXT           send TEXT, also where it begins with a slash or is empty
  /binary HEX          send these bytes as a binary frame: /binary 00 ff 7f
  /file PATH           send a file: as text where it is UTF-8, or else as binary
  /ping [TEXT]         send a ping and tell how long its pong takes
  /json                show JSON that comes in one field a line, or as it is again
  /close [CODE [WHY]]  say goodbye with this close code; 1000 unless given
  /quit                the same as /close, and so are ctrl-d and ctrl-c
  /help                this list"
    };
}
pub(super) use what_to_type;

/// The most bytes in a ping (RFC 6455, section 5.5).
const MAX_PING: usize = 125;

/// The most bytes of a reason in a close frame.
const MAX_REASON: usize = 123;

/// What a typed line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Nothing,
    Send(Frame),
    /// [`read`] makes a frame of it.
    File(PathBuf),
    Json,
    Close {
        code: CloseCode,
        reason: String,
    },
    Help,
}

impl Command {
    /// The end of it all.
    pub(super) const fn quit() -> Self {
        Self::Close {
            code: CloseCode::NORMAL,
            reason: String::new(),
        }
    }

    /// Reads a line.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words for whoever typed it.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let Some(rest) = line.strip_prefix('/') else {
            return Ok(if line.is_empty() {
                Self::Nothing
            } else {
                Self::Send(Frame::Text(line.to_owned().into()))
            });
        };
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        match name {
            "text" => Ok(Self::Send(Frame::Text(rest.to_owned().into()))),
            "binary" => Ok(Self::Send(Frame::Binary(from_hex(rest)?))),
            "file" if rest.trim().is_empty() => {
                Err("/file wants a path: /file letter.json".to_owned())
            }
            "file" => Ok(Self::File(rest.trim().into())),
            "ping" if rest.len() > MAX_PING => Err(format!(
                "a ping has at most {MAX_PING} bytes, this has {}",
                rest.len()
            )),
            "ping" => Ok(Self::Send(Frame::Ping(rest.to_owned().into()))),
            "json" => Ok(Self::Json),
            "close" => close(rest.trim()),
            "quit" | "exit" => Ok(Self::quit()),
            "help" | "?" => Ok(Self::Help),
            _ => Err(format!(
                "there is no /{name}; /help lists what there is, and /text sends what begins with a slash"
            )),
        }
    }
}

fn from_hex(text: &str) -> Result<Bytes, String> {
    let digits: Vec<_> = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|character| {
            let digit = character.to_digit(16);
            digit.ok_or_else(|| format!("{character:?} is no hexadecimal digit"))
        })
        .collect::<Result<_, _>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err(format!(
            "a byte has two hexadecimal digits, so {} of them are one too few",
            digits.len()
        ));
    }
    let byte = |pair: &[u32]| (pair[0] << 4 | pair[1]) as u8;
    Ok(digits.chunks(2).map(byte).collect())
}

/// A frame with what is in a file.
///
/// # Errors
///
/// Where it cannot be read, or is too large, in words for whoever named it.
pub(super) fn read(path: &Path) -> Result<Frame, String> {
    let shown = path.display();
    let wrong = |error| format!("cannot read {shown}: {error}");
    let mut content = Vec::new();
    let opened = fs::File::open(path).map_err(wrong)?;
    // A device or a pipe has no length to ask for.
    let mut bounded = opened.take(MAX_FRAME as u64 + 1);
    bounded.read_to_end(&mut content).map_err(wrong)?;
    if content.len() > MAX_FRAME {
        return Err(format!("{shown} has more than {MAX_FRAME} bytes"));
    }
    Ok(match String::from_utf8(content) {
        Ok(text) => Frame::Text(text.into()),
        Err(error) => Frame::Binary(error.into_bytes().into()),
    })
}

fn close(rest: &str) -> Result<Command, String> {
    if rest.is_empty() {
        return Ok(Command::quit());
    }
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_code = |code: &u16| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    let code = code.parse().ok().filter(is_code).ok_or_else(|| {
        format!("{code:?} is no close code to send: those are 1000 to 1003, 1007 to 1014 and 3000 to 4999")
    })?;
    let reason = reason.trim();
    if reason.len() > MAX_REASON {
        return Err(format!(
            "the reason has {} bytes, and {MAX_REASON} at most fit",
            reason.len()
        ));
    }
    Ok(Command::Close {
        code: CloseCode(code),
        reason: reason.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sends(line: &str) -> Frame {
        match Command::parse(line) {
            Ok(Command::Send(frame)) => frame,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn lines_are_sent_as_they_are() {
        assert_eq!(sends(" {\"a\": 1} "), Frame::Text(" {\"a\": 1} ".into()));
        assert_eq!(sends("/text /quit"), Frame::Text("/quit".into()));
        assert_eq!(sends("/text "), Frame::Text(Bytes::new()));
        assert_eq!(Command::parse(""), Ok(Command::Nothing));
    }

    #[test]
    fn bytes_are_written_in_hexadecimal() {
        assert_eq!(
            sends("/binary 00fF 7 f"),
            Frame::Binary(vec![0, 255, 127].into())
        );
        assert_eq!(sends("/binary"), Frame::Binary(Bytes::new()));
        assert!(Command::parse("/binary 0x12").unwrap_err().contains("'x'"));
        assert!(Command::parse("/binary 123").unwrap_err().contains("3 of"));
    }

    #[test]
    fn files_go_as_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("with space");
        let line = format!("/file {} ", path.display());
        assert_eq!(Command::parse(&line), Ok(Command::File(path.clone())));
        assert!(Command::parse("/file ").unwrap_err().contains("a path"));
        assert!(read(&path).unwrap_err().contains("with space"));
        fs::write(&path, "gr\u{fc}n").unwrap();
        assert_eq!(read(&path).unwrap(), Frame::Text("gr\u{fc}n".into()));
        fs::write(&path, [0xff, 0]).unwrap();
        assert_eq!(read(&path).unwrap(), Frame::Binary(vec![0xff, 0].into()));
        let file = fs::File::create(&path).unwrap();
        file.set_len(MAX_FRAME as u64 + 1).unwrap();
        assert!(read(&path).unwrap_err().contains("more than"));
    }

    #[test]
    fn goodbyes_are_those_one_may_send() {
        let close = |code, reason: &str| Command::Close {
            code: CloseCode(code),
            reason: reason.to_owned(),
        };
        assert_eq!(Command::parse("/quit"), Ok(close(1000, "")));
        assert_eq!(Command::parse("/close"), Ok(close(1000, "")));
        assert_eq!(
            Command::parse("/close 4000 so long"),
            Ok(close(4000, "so long"))
        );
        for wrong in ["1005", "1006", "999", "5000", "now", "1015"] {
            let complaint = Command::parse(&format!("/close {wrong}")).unwrap_err();
            assert!(complaint.contains(wrong), "{complaint}");
        }
        let long = format!("/close 1000 {}", "x".repeat(124));
        assert!(Command::parse(&long).unwrap_err().contains("124"));
    }

    #[test]
    fn what_does_not_exist_is_named() {
        assert!(Command::parse("/quite").unwrap_err().contains("/quite"));
        let long = format!("/ping {}", "x".repeat(126));
        assert!(Command::parse(&long).unwrap_err().contains("126"));
    }
}
