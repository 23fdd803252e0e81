//! What happened, in lines that are the same wherever and whenever it happens.

use crate::{contract::Sent, monitor::Seen};
use relay_proto::{Action, CloseCode, Closure, Frame, Input, LinkId, OpenError, storage::Write};

/// How the reason for a loss begins that a machine has asked for.
const NO_TLS: &str = "TLS cannot be started";

/// The longest payload shown whole, in bytes.
const SHOWN: usize = 200;

/// What a scenario yields: one block of lines for everybody who took part.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    blocks: Vec<(String, Vec<String>)>,
}

impl Transcript {
    /// Adds a line about somebody, in the block of that name.
    pub(crate) fn note(&mut self, who: &str, what: impl Into<String>) {
        self.add(who, [what.into()]);
    }

    /// Adds lines to the block of that name.
    pub(crate) fn add(&mut self, who: &str, lines: impl IntoIterator<Item = String>) {
        let lines = lines.into_iter().map(|line| normalised(&line));
        match self.blocks.iter_mut().find(|(name, _)| name == who) {
            Some((_, block)) => block.extend(lines),
            None => self.blocks.push((who.to_owned(), lines.collect())),
        }
    }

    /// Adds everything that was seen of a machine, in the block of that name.
    pub(crate) fn saw(&mut self, who: &str, seen: Seen) {
        self.add(who, seen.all());
    }

    /// The whole text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (who, lines) in &self.blocks {
            text.push_str(who);
            text.push('\n');
            for line in lines {
                text.push_str("    ");
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

/// Whether the end of a stream says no more than that it has ended: it has no goodbye, and which side was first is up to the
/// moment.
pub(crate) fn is_mere_end(why: &Closure) -> bool {
    match why {
        Closure::Lost { detail } => !detail.starts_with(NO_TLS),
        _ => true,
    }
}

/// A frame's payload.
pub(crate) fn payload(frame: &Frame) -> &[u8] {
    match frame {
        Frame::Text(bytes) | Frame::Binary(bytes) | Frame::Ping(bytes) | Frame::Pong(bytes) => {
            bytes
        }
    }
}

/// A frame, with its content where that is short.
pub(crate) fn frame(frame: &Frame) -> String {
    let kind = match frame {
        Frame::Text(_) => "text",
        Frame::Binary(_) => "binary",
        Frame::Ping(_) => "ping",
        Frame::Pong(_) => "pong",
    };
    format!("{kind} {}", content(payload(frame)))
}

/// Bytes: short ones as they are, long ones by their length.
pub(crate) fn content(bytes: &[u8]) -> String {
    let length = bytes.len();
    match (bytes.first(), str::from_utf8(bytes)) {
        (Some(first), _) if length > SHOWN && bytes.iter().all(|byte| byte == first) => {
            format!("{length} times {first:#04x}")
        }
        _ if length > SHOWN => format!("{length} bytes"),
        // Within quotation marks, those of JSON are plain enough.
        (_, Ok(text)) => format!("{text:?}").replace("\\\"", "\""),
        (_, Err(_)) => format!("\"{}\"", bytes.escape_ascii()),
    }
}

pub(crate) fn received(bytes: &[u8]) -> String {
    format!("< {}", content(bytes))
}

/// What a machine wants done, and on which link.
pub(crate) fn action(action: &Action) -> (Option<LinkId>, String) {
    match action {
        Action::Open { link, endpoint } => (Some(*link), format!("open {endpoint}")),
        Action::Send { link, frame: sent } => (Some(*link), format!("> {}", frame(sent))),
        Action::StartTls { link } => (Some(*link), "> start TLS".to_owned()),
        Action::Store { batch, writes } => {
            let writes: Vec<_> = writes.iter().map(write).collect();
            (None, format!("store {batch}: {}", writes.join(", ")))
        }
        Action::Close { link, code, reason } => {
            (Some(*link), format!("> close {}", goodbye(*code, reason)))
        }
    }
}

fn write(write: &Write) -> String {
    match write {
        Write::Put { table, .. } => format!("put into {table}"),
        Write::Delete { table, .. } => format!("delete from {table}"),
    }
}

/// A close frame.
pub(crate) fn goodbye(code: CloseCode, reason: &str) -> String {
    match reason {
        "" => code.to_string(),
        reason => format!("{code} {reason:?}"),
    }
}

/// What a machine is told; nothing where only the number of such facts is the same everywhere.
pub(crate) fn input(input: &Input) -> Option<String> {
    Some(match input {
        Input::Written { .. } => return None,
        Input::Accepted { peer, .. } => match peer {
            Some(peer) => format!("accepted from {peer}"),
            None => "accepted".to_owned(),
        },
        Input::Opened { .. } => "opened".to_owned(),
        Input::Secured { .. } => "secured".to_owned(),
        Input::OpenFailed { why, .. } => format!("not opened: {}", open_error(why)),
        Input::Frame {
            frame: received, ..
        } => format!("< {}", frame(received)),
        Input::Closed { why, .. } => match why {
            Closure::Lost { detail } if detail.starts_with(NO_TLS) => format!("lost: {detail}"),
            // Whether it is a reset or an end is up to the moment.
            Closure::Lost { .. } => "lost".to_owned(),
            Closure::Local => "closed".to_owned(),
            Closure::Peer {
                code: Some(code),
                reason,
            } => {
                format!("< close {}", goodbye(*code, reason))
            }
            Closure::Peer { code: None, .. } => "< close".to_owned(),
            other => other.to_string(),
        },
        Input::Stored { batch, result } => match result {
            Ok(()) => format!("stored {batch}"),
            Err(error) => format!("stored {batch}: {error}"),
        },
        other => format!("{other:?}"),
    })
}

/// Why a link did not open: its kind, and all that is said about it.
fn open_error(why: &OpenError) -> String {
    let kind = match why {
        OpenError::Unreachable { .. } => "Unreachable",
        OpenError::Tls { .. } => "Tls",
        OpenError::Refused {
            retry_after: Some(wait),
            ..
        } => {
            return format!("Refused: {why}; come back in {} s", wait.as_secs());
        }
        OpenError::Refused { .. } => "Refused",
        OpenError::NotWebSocket { .. } => "NotWebSocket",
        OpenError::Proxy { .. } => "Proxy",
        OpenError::Abandoned => "Abandoned",
        _ => "?",
    };
    format!("{kind}: {why}")
}

/// Of how much that was sent the driver has said that it is written. How much that is of more than the socket takes is up to
/// the moment.
pub(crate) fn sent(sent: Sent) -> Option<String> {
    match sent {
        Sent { frames: 0, .. } => None,
        Sent { frames, written } if frames == written => Some(format!("written: all {frames}")),
        Sent { frames, .. } => Some(format!("written: not all {frames}")),
    }
}

/// Without what differs from run to run: ports, and how exactly a connection was lost.
fn normalised(line: &str) -> String {
    let mut line = without_ports(line);
    for detail in [
        ": the peer has reset the connection",
        ": the peer has ended the connection",
        ": Broken pipe (os error 32)",
    ] {
        let lost = "connection lost";
        line = line.replace(&format!("{lost}{detail}"), lost);
    }
    line
}

fn without_ports(line: &str) -> String {
    let mut text = String::new();
    for part in line.split_inclusive(':') {
        let follows_host = text.ends_with("127.0.0.1:") || text.ends_with("localhost:");
        let rest = part.trim_start_matches(|character: char| character.is_ascii_digit());
        if follows_host && rest.len() < part.len() {
            text.push_str("PORT");
            text.push_str(rest);
        } else {
            text.push_str(part);
        }
    }
    text
}

#[cfg(test)]
#[path = "transcript_tests.rs"]
mod tests;
