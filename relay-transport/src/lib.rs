//! What the bindings share, whatever their runtime: settings, TLS, the words for what goes wrong, and WebSocket
//! messages as frames of [`relay_proto`].
//!
//! For those who write a binding; programs use one and find here what it re-exports. There is no runtime below,
//! and nothing here reads, writes or waits.
//!
//! ```
//! use relay_proto::{CloseCode, Frame};
//! use relay_transport::{Config, fault, websocket};
//! use tungstenite::Message;
//!
//! let config = Config::default();
//! let settings = websocket::config(config.max_frame_bytes);
//! assert_eq!(settings.max_message_size, Some(1 << 20));
//!
//! assert_eq!(websocket::received(Message::text("hello"), 5), Ok(Frame::Text("hello".into())));
//! let too_big = websocket::received(Message::text("hello!"), 5).unwrap_err();
//! assert!(matches!(too_big, relay_proto::Closure::Violation { code: CloseCode::MESSAGE_TOO_BIG, .. }));
//!
//! let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
//! let why = fault::unreachable("ws://relay.example/".to_owned(), &refused);
//! assert_eq!(why.to_string(), "cannot connect to ws://relay.example/: connection refused; nothing listens on this port");
//! ```

mod config;
pub mod fault;
pub mod happy_eyeballs;
mod headers;
mod origins;
mod route;
pub mod tls;
pub mod websocket;

pub use config::Config;
pub use headers::{HeaderError, Headers};
pub use origins::{Origin, OriginError, Origins};
pub use route::Route;

use relay_proto::proxy::{Proxies, VariableError};
use std::{env, time::Duration};

/// The longest run of bytes of a byte stream handed up as one frame.
pub const PIECE: usize = 16 * 1024;

/// How long to wait after the system could not give a connection, mostly for want of file descriptors.
pub const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// A wake-up nobody waits for: about 30 years. Later ones cannot be told to every clock.
pub const FAR: Duration = Duration::from_secs(1 << 30);

/// 32 bytes from the operating system, to seed a machine's [`Random`](relay_proto::Random).
///
/// # Panics
///
/// Where the operating system has no source of randomness, which no supported platform lacks.
pub fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).expect("the operating system has a source of randomness");
    seed
}

/// The proxies that the usual variables of this process's environment name; see [`Proxies::from_variables`].
///
/// A binding never asks by itself: a library that goes elsewhere because of a variable is a surprise.
///
/// # Errors
///
/// Where one of the variables cannot be understood.
pub fn proxies_from_environment() -> Result<Proxies, VariableError> {
    Proxies::from_variables(|name| {
        env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn seeds_differ() {
        assert_ne!(super::seed(), super::seed());
    }
}
