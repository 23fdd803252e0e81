//! What a person sees of it.

use super::{json, machine::Ending};
use crate::printable::printable;
use relay_proto::{CloseCode, Closure, Frame, mail::wire::ApiKey};
use std::{borrow::Cow, fmt::Write, time::Duration};

/// The most bytes of a binary frame that are shown.
const MAX_DUMP: usize = 256;

/// Something to show.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// What the peer has sent.
    Frame(String),
    /// What is to be said about the link.
    Notice(String),
}

impl Shown {
    pub(super) fn notice(text: impl Into<String>) -> Self {
        Self::Notice(format!("* {}", lines(&text.into(), "\n")))
    }

    pub(super) fn text(&self) -> &str {
        let (Self::Frame(text) | Self::Notice(text)) = self;
        text
    }
}

/// How things are shown.
#[derive(Debug, Default)]
pub(super) struct Show {
    /// What is never shown, whoever says it.
    pub(super) secret: Option<ApiKey>,
    /// Whether JSON is shown one field a line.
    pub(super) pretty: bool,
}

impl Show {
    /// A frame that has arrived; for a pong, with the time it took.
    pub(super) fn frame(&self, frame: &Frame, after: Option<Duration>) -> Shown {
        let length = frame.len();
        let (Frame::Text(payload)
        | Frame::Binary(payload)
        | Frame::Ping(payload)
        | Frame::Pong(payload)) = frame;
        let payload = self.without_secret(payload);
        let text = || printable(&String::from_utf8_lossy(&payload));
        let quoted = || match &*text() {
            "" => String::new(),
            text => format!(" \"{text}\""),
        };
        Shown::Frame(match frame {
            Frame::Text(_) => format!("< {}", self.message(&payload)),
            Frame::Binary(_) => format!("< binary, {}{}", bytes(length), dump(&payload)),
            Frame::Ping(_) => format!("< ping{}, which is answered", quoted()),
            Frame::Pong(_) => match after {
                Some(after) => format!(
                    "< pong{} after {:.1} ms",
                    quoted(),
                    after.as_secs_f64() * 1000.0
                ),
                None => format!("< pong{}, which nobody asked for", quoted()),
            },
        })
    }

    /// How it was over.
    pub(super) fn ending(&self, ending: &Ending) -> String {
        match ending {
            Ending::Unopened(why) => format!("not connected: {why}"),
            Ending::Closed(Closure::Peer { code, reason }) => {
                let reason = self.without_secret(reason.as_bytes());
                let reason = String::from_utf8_lossy(&reason);
                let reason = match &*reason {
                    "" => String::new(),
                    reason => format!(": \"{}\"", printable(reason)),
                };
                match code {
                    Some(code) => {
                        format!("closed by the peer: {code} ({}){reason}", meaning(*code))
                    }
                    None => "closed by the peer, without a code".to_owned(),
                }
            }
            Ending::Closed(closure) => closure.to_string(),
        }
    }

    fn message(&self, payload: &[u8]) -> String {
        let text = String::from_utf8_lossy(payload);
        let pretty = if self.pretty {
            json::pretty(&text)
        } else {
            None
        };
        let text = pretty.map_or(text, Cow::Owned);
        lines(&text, "\n  ")
    }

    /// The payload with the secret painted over, as it is and as it is in JSON.
    fn without_secret<'a>(&self, payload: &'a [u8]) -> Cow<'a, [u8]> {
        let mut payload = Cow::Borrowed(payload);
        let Some(secret) = &self.secret else {
            return payload;
        };
        let plain = secret.expose();
        let quoted = serde_json::to_string(plain).expect("a string is always JSON");
        for secret in [plain, quoted.trim_matches('"')] {
            if let Some(painted) = replace(&payload, secret.as_bytes(), b"[API key]") {
                payload = Cow::Owned(painted);
            }
        }
        payload
    }
}

/// None where it does not occur.
fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let mut replaced = Vec::new();
    let mut rest = text;
    while let Some(at) = rest
        .windows(from.len().max(1))
        .position(|part| part == from)
    {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    (!replaced.is_empty()).then(|| [&replaced, rest].concat())
}

/// Line by line printable, with this between them.
fn lines(text: &str, between: &str) -> String {
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    lines.join(between)
}

fn bytes(length: usize) -> String {
    match length {
        1 => "1 byte".to_owned(),
        _ => format!("{length} bytes"),
    }
}

/// Lines of sixteen bytes: where, in hexadecimal, as text.
fn dump(payload: &[u8]) -> String {
    let mut dump = String::new();
    let (shown, rest) = payload.split_at(payload.len().min(MAX_DUMP));
    for (index, row) in shown.chunks(16).enumerate() {
        let mut hex = String::new();
        for (column, byte) in row.iter().enumerate() {
            let gap = if column == 8 { "  " } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(hex, "{gap}{byte:02x}");
        }
        let text: String = row
            .iter()
            .map(|byte| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            })
            .collect();
        let _ = write!(dump, "\n  {:04x} {hex:<50} {text}", index * 16);
    }
    if !rest.is_empty() {
        let _ = write!(dump, "\n  and {} more", bytes(rest.len()));
    }
    dump
}

/// What a close code means (RFC 6455, section 7.4, and the registry that came of it).
fn meaning(code: CloseCode) -> &'static str {
    match code.0 {
        1000 => "normal closure",
        1001 => "going away",
        1002 => "protocol error",
        1003 => "unsupported data",
        1007 => "invalid payload",
        1008 => "policy violation",
        1009 => "message too big",
        1010 => "an extension is missing",
        1011 => "internal error",
        1012 => "service restart",
        1013 => "try again later",
        1014 => "bad gateway",
        3000 => "unauthorized",
        3003 => "forbidden",
        3008 => "timeout",
        4001 => "from a relay: authentication refused",
        4008 => "from a relay: no authentication in time",
        code if (3000..4000).contains(&code) => "of a library or framework",
        code if (4000..5000).contains(&code) => "of the application",
        _ => "reserved",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(frame: &Frame) -> String {
        Show::default().frame(frame, None).text().to_owned()
    }

    fn text(text: &str) -> Frame {
        Frame::Text(text.to_owned().into())
    }

    #[test]
    fn text_cannot_reach_the_terminal() {
        assert_eq!(shown(&text("gr\u{fc}n\tx")), "< gr\u{fc}n\tx");
        assert_eq!(shown(&text("a\r\nb\n")), "< a\\r\n  b\n  ");
        assert_eq!(
            shown(&text("\u{1b}[2J\u{7}\u{202e}\u{9b}")),
            "< \\u{1b}[2J\\u{7}\\u{202e}\\u{9b}"
        );
        assert_eq!(
            shown(&Frame::Ping("\u{1b}c".into())),
            "< ping \"\\u{1b}c\", which is answered"
        );
    }

    #[test]
    fn bytes_are_shown_in_rows() {
        let payload: Vec<u8> = (b'A'..=b'R').chain([0]).collect();
        assert_eq!(
            shown(&Frame::Binary(payload.into())),
            "< binary, 19 bytes\n\
             \u{20} 0000  41 42 43 44 45 46 47 48  49 4a 4b 4c 4d 4e 4f 50  ABCDEFGHIJKLMNOP\n\
             \u{20} 0010  51 52 00                                          QR."
        );
        let long = shown(&Frame::Binary(vec![0; 1000].into()));
        assert_eq!(long.lines().count(), 1 + 16 + 1);
        assert!(long.ends_with("\n  and 744 bytes more"), "{long}");
    }

    #[test]
    fn a_pong_is_timed() {
        let pong = Frame::Pong("x".into());
        let after = Some(Duration::from_micros(1234));
        let shown = Show::default().frame(&pong, after);
        assert_eq!(shown, Shown::Frame("< pong \"x\" after 1.2 ms".to_owned()));
    }

    #[test]
    fn the_secret_is_painted_over_whoever_says_it() {
        let show = Show {
            secret: Some(ApiKey::new("hunter\"2")),
            pretty: true,
        };
        let frames = [
            text("it is hunter\"2, hunter\"2"),
            text("{\"apiKey\":\"hunter\\\"2\"}"),
            Frame::Binary("hunter\"2".into()),
            Frame::Ping("hunter\"2".into()),
        ];
        for frame in frames {
            let shown = show.frame(&frame, None);
            assert!(!shown.text().contains("unter"), "{shown:?}");
            assert!(shown.text().contains("[API key]"), "{shown:?}");
        }
        let reason = "no hunter\"2 here".to_owned();
        let code = Some(CloseCode::POLICY_VIOLATION);
        assert_eq!(
            show.ending(&Ending::Closed(Closure::Peer { code, reason })),
            "closed by the peer: 1008 (policy violation): \"no [API key] here\""
        );
    }

    #[test]
    fn json_is_shown_one_field_a_line_where_wanted() {
        let show = Show {
            pretty: true,
            ..Show::default()
        };
        let shown = show.frame(&text("{\"a\":1}"), None);
        assert_eq!(shown.text(), "< {\n    \"a\": 1\n  }");
        assert_eq!(show.frame(&text("plain"), None).text(), "< plain");
    }
}
