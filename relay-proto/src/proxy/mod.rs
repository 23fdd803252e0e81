//! Reaching a server through an HTTP proxy: [where](Proxy) it is, [which](Proxies) one leads to which server, and the
//! [dialogue](Connect) that makes a tunnel of a connection to it (RFC 9110, section 9.3.6).
//!
//! As pure as the machines: a driver connects to the proxy, with TLS where [`Proxy::is_tls`], sends
//! [`Connect::request`], hands over what comes, and uses the connection for whatever it wanted to send to the server
//! once [`Answer::Established`] says so.
//!
//! ```
//! use relay_proto::proxy::{Answer, Connect, Proxies};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What the environment says, or settings, or an option.
//! let proxies = Proxies::from_variables(|name| match name {
//!     "HTTPS_PROXY" => Some("http://alice:secret@proxy.example:3128".to_owned()),
//!     "NO_PROXY" => Some("intranet.example, 10.0.0.0/8".to_owned()),
//!     _ => None,
//! })?;
//! assert_eq!(proxies.to(&"wss://relay.intranet.example/".parse()?), None);
//!
//! let url = "wss://relay.example/".parse()?;
//! let proxy = proxies.to(&url).expect("nothing exempts this server");
//! assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
//! assert_eq!(proxy.to_string(), "http://proxy.example:3128");
//!
//! let connect = Connect::new(&url, proxy);
//! assert!(connect.request().starts_with(b"CONNECT relay.example:443 HTTP/1.1\r\n"));
//!
//! // Bytes arrive as they please.
//! let Answer::Incomplete(connect) = connect.handle_bytes(b"HTTP/1.1 200 Connec")? else {
//!     panic!("half an answer");
//! };
//! let Answer::Established { early } = connect.handle_bytes(b"tion established\r\n\r\n")? else {
//!     panic!("a whole answer");
//! };
//! assert!(early.is_empty());
//! # Ok(())
//! # }
//! ```

mod address;
mod connect;
mod rules;

pub use address::{Proxy, ProxyUrlError};
pub use connect::{Answer, Connect, ConnectError};
pub use rules::{Proxies, VariableError};

use alloc::string::String;

/// Why a proxy does not lead to a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyFault {
    /// No connection to the proxy: name lookup, routing, refused.
    #[error("cannot connect to the proxy: {detail}")]
    Unreachable {
        /// What the transport said.
        detail: String,
    },
    /// The TLS handshake with the proxy itself failed, mostly over its certificate.
    #[error("no secure connection to the proxy: {detail}")]
    Tls {
        /// What the TLS library said.
        detail: String,
    },
    /// It made no tunnel.
    #[error("the proxy {0}")]
    Connect(#[from] ConnectError),
}

impl ProxyFault {
    /// Whether the proxy wants other credentials: trying again with these is of no use, and may lock the account.
    pub const fn is_about_credentials(&self) -> bool {
        matches!(
            self,
            Self::Connect(
                ConnectError::CredentialsMissing
                    | ConnectError::CredentialsRefused
                    | ConnectError::Scheme { .. }
            )
        )
    }
}
