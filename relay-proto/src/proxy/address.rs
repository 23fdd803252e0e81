//! Where a proxy is, and what it wants to see.

use crate::endpoint::{host_and_port, parse_uri};
use alloc::{borrow::Cow, format, string::String, vec::Vec};
use base64::{Engine, prelude::BASE64_STANDARD};
use core::{fmt, str::FromStr};

/// An HTTP proxy: `http://[USER:PASSWORD@]HOST[:PORT]`, or `https://` where TLS is spoken to the proxy itself.
///
/// Without a scheme it is `http`, as users of the usual environment variables expect; the port is 80 or 443 where none is
/// given. User name and password are percent-encoded in the URL (RFC 3986, section 2.1); neither [`Debug`](fmt::Debug) nor
/// [`Display`](fmt::Display) shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    host: String,
    port: u16,
    tls: bool,
    /// The value of Proxy-Authorization. Base64, so nothing in it can end the line.
    authorization: Option<String>,
}

impl Proxy {
    /// The same with a user name and a password, both as they are, for the Basic scheme (RFC 7617).
    ///
    /// # Errors
    ///
    /// Where one of them has control characters in it, or the user name a colon (RFC 7617, section 2).
    pub fn with_credentials(self, user: &str, password: &str) -> Result<Self, ProxyUrlError> {
        self.with_basic(user.as_bytes(), password.as_bytes())
    }

    /// The host: a name or an address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether TLS is spoken to the proxy itself.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// The value of Proxy-Authorization, where there are credentials.
    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    fn with_basic(self, user: &[u8], password: &[u8]) -> Result<Self, ProxyUrlError> {
        if user.contains(&b':') {
            return Err(ProxyUrlError::Colon);
        }
        if user.iter().chain(password).any(u8::is_ascii_control) {
            return Err(ProxyUrlError::Control);
        }
        let encoded = BASE64_STANDARD.encode([user, b":", password].concat());
        let authorization = Some(format!("Basic {encoded}"));
        Ok(Self {
            authorization,
            ..self
        })
    }
}

impl FromStr for Proxy {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let text = text.trim();
        let text = match text.contains("://") {
            true => Cow::Borrowed(text),
            false => Cow::Owned(format!("http://{text}")),
        };
        let uri = parse_uri(&text).ok_or(ProxyUrlError::Syntax {
            problem: "it is no URL; one looks like http://user:password@host:port, with %40 for an @ in the password",
        })?;
        let scheme = uri.scheme().as_str();
        let tls = match &*scheme.to_ascii_lowercase() {
            "http" => false,
            "https" => true,
            _ => {
                let given = scheme.into();
                return Err(ProxyUrlError::Scheme { given });
            }
        };
        if !matches!(uri.path().as_str(), "" | "/") || uri.has_query() || uri.has_fragment() {
            return Err(ProxyUrlError::Syntax {
                problem: "nothing may follow host and port",
            });
        }
        let (host, port) = host_and_port(&uri, Some(if tls { 443 } else { 80 }))
            .map_err(|problem| ProxyUrlError::Syntax { problem })?;
        let proxy = Self {
            host,
            port,
            tls,
            authorization: None,
        };
        let Some(credentials) = uri.authority().and_then(|authority| authority.userinfo()) else {
            return Ok(proxy);
        };
        let (user, password) = credentials
            .split_once(':')
            .unwrap_or((credentials, Default::default()));
        let decoded = |part: &fluent_uri::pct_enc::EStr<_>| -> Vec<u8> {
            part.decode().to_bytes().into_owned()
        };
        proxy.with_basic(&decoded(user), &decoded(password))
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let (open, close) = match self.host.contains(':') {
            true => ("[", "]"),
            false => ("", ""),
        };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.authorization.as_ref().map(|_| "…");
        f.debug_struct("Proxy")
            .field("url", &format_args!("{self}"))
            .field("credentials", &secret)
            .finish()
    }
}

/// Why a text is no proxy. The text is left out on purpose: there may be a password in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// Not a URL at all, or one with a part that has no place here.
    #[error("the proxy's URL is of no use: {problem}")]
    Syntax {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A proxy of another kind.
    #[error("{given}:// proxies are not supported; http:// and https:// ones are")]
    Scheme {
        /// The URL's scheme.
        given: String,
    },
    /// The user name has a colon in it.
    #[error("the user name for the proxy has a colon in it, which HTTP cannot send")]
    Colon,
    /// The user name or the password has a control character in it.
    #[error(
        "user name or password for the proxy has a control character in it, which HTTP cannot send"
    )]
    Control,
}

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
