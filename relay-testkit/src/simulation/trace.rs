//! What happened in a run, for people to read. Costs nothing where nobody asked for it.

use relay_proto::{
    Action, Frame, Input, Time,
    session::{Body, SessionFrame},
};
use std::{cell::RefCell, rc::Rc};

/// The most bytes shown of anything.
const SHOWN: usize = 160;

/// A shared list of lines, or nothing.
#[derive(Clone, Default)]
pub struct Trace(Option<Rc<RefCell<Vec<String>>>>);

impl Trace {
    /// One that keeps what it is told.
    pub fn kept() -> Self {
        Self(Some(Rc::default()))
    }

    /// The lines so far, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.0
            .as_ref()
            .map(|lines| lines.borrow().clone())
            .unwrap_or_default()
    }

    /// Adds a line.
    pub fn say(&self, now: Time, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            let seconds = now.as_nanos() as f64 / 1e9;
            let line = format!("{seconds:>12.6}  {}", line());
            lines.borrow_mut().push(line);
        }
    }
}

/// What a host does, in a few words.
pub(super) fn action(action: &Action) -> String {
    match action {
        Action::Open { link, endpoint } => format!("opens {link} to {endpoint}"),
        Action::Send { link, frame } => format!("sends on {link}: {}", self::frame(frame)),
        Action::Close { link, code, reason } => format!("closes {link}: {code} {reason}"),
        Action::StartTls { link, .. } => format!("secures {link}"),
        Action::Store { batch, writes } => format!("stores batch {batch}: {writes:?}"),
    }
}

/// What a host is told, in a few words.
pub(super) fn input(input: &Input) -> String {
    match input {
        Input::Frame { link, frame } => format!("reads on {link}: {}", self::frame(frame)),
        other => format!("hears {other:?}"),
    }
}

fn frame(frame: &Frame) -> String {
    match frame {
        Frame::Text(text) => shown(text),
        Frame::Binary(bytes) => match SessionFrame::decode(bytes) {
            // SMTP begins with a letter or a digit, a frame of a session with its kind.
            Ok(decoded) if bytes.first().is_some_and(|kind| *kind < 8) => {
                let payload = match &decoded {
                    SessionFrame::Numbered {
                        body: Body::Control(payload) | Body::Data { payload, .. },
                        ..
                    } => shown(payload),
                    _ => String::new(),
                };
                format!("{decoded:?} {payload}")
            }
            _ => shown(bytes),
        },
        control => format!("{control:?}"),
    }
}

fn shown(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(SHOWN)];
    let more = match bytes.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("… and {more} bytes"),
    };
    format!("{}{more}", start.escape_ascii())
}
