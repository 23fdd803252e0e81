//! Where a link leads.

use alloc::{borrow::ToOwned, string::String};
use core::{fmt, str::FromStr};
use fluent_uri::{Uri, component::Host};

/// Where a link leads: a WebSocket or a byte stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver must know every kind of link"
)]
pub enum Endpoint {
    /// A WebSocket.
    WebSocket(WebSocketUrl),
    /// A byte stream: TCP, or TLS over it.
    Stream(StreamAddress),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WebSocket(url) => url.fmt(f),
            Self::Stream(address) => address.fmt(f),
        }
    }
}

/// A `ws://` or `wss://` URL (RFC 6455, section 3), without credentials and without a fragment.
///
/// A query may carry a key or a token, so `Display` and `Debug`, and with them every error that names an endpoint, leave it out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WebSocketUrl {
    text: String,
    host: String,
    port: u16,
    tls: bool,
}

impl WebSocketUrl {
    /// The URL as it was given, query included: for the request, not for people.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host: a name or an address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 80 or 443 where the URL names none.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the scheme is `wss`.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }
}

impl FromStr for WebSocketUrl {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let uri = parse(text)?;
        let syntax = |problem| EndpointError::Syntax {
            given: without_query(text),
            problem,
        };
        let tls = match uri.scheme().as_str() {
            "ws" => false,
            "wss" => true,
            _ => {
                return Err(EndpointError::Scheme {
                    given: without_query(text),
                    expected: "ws:// or wss://",
                });
            }
        };
        if uri.fragment().is_some() {
            return Err(syntax("a WebSocket URL has no fragment (#…)"));
        }
        let (host, port) = host_and_port(&uri, Some(if tls { 443 } else { 80 })).map_err(syntax)?;
        Ok(Self {
            text: text.to_owned(),
            host,
            port,
            tls,
        })
    }
}

impl fmt::Display for WebSocketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        without_query(&self.text).fmt(f)
    }
}

impl fmt::Debug for WebSocketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebSocketUrl({self})")
    }
}

/// A URL for people: what its query says may be secret.
fn without_query(url: &str) -> String {
    match url.split_once('?') {
        Some((before, _)) => before.to_owned() + "?…",
        None => url.to_owned(),
    }
}

/// The address of a byte stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamAddress {
    host: String,
    port: u16,
    tls: bool,
}

impl StreamAddress {
    /// Host `host` (a name or an address, without brackets) at `port`; with TLS from the first byte where `tls`.
    pub fn new(host: impl Into<String>, port: u16, tls: bool) -> Self {
        Self {
            host: host.into(),
            port,
            tls,
        }
    }

    /// Reads `scheme://HOST[:PORT]` with nothing behind it.
    ///
    /// `schemes` lists what is allowed: the scheme, whether it means TLS, and its default port, if any.
    ///
    /// # Errors
    ///
    /// Where `text` is not a URI of one of these schemes, or has credentials, a path or a query.
    pub fn from_uri(
        text: &str,
        schemes: &[(&str, bool, Option<u16>)],
        expected: &'static str,
    ) -> Result<Self, EndpointError> {
        let uri = parse(text)?;
        let syntax = |problem| EndpointError::Syntax {
            given: text.to_owned(),
            problem,
        };
        let Some(&(_, tls, default_port)) = schemes
            .iter()
            .find(|(scheme, ..)| uri.scheme().as_str().eq_ignore_ascii_case(scheme))
        else {
            return Err(EndpointError::Scheme {
                given: text.to_owned(),
                expected,
            });
        };
        if !matches!(uri.path().as_str(), "" | "/")
            || uri.query().is_some()
            || uri.fragment().is_some()
        {
            return Err(syntax("nothing may follow host and port"));
        }
        let (host, port) = host_and_port(&uri, default_port).map_err(syntax)?;
        Ok(Self { host, port, tls })
    }

    /// The host: a name or an address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the stream is TLS from its first byte.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }
}

impl fmt::Display for StreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// Not a URL at all, or one with a part that has no place here.
    #[error("{given:?}: {problem}")]
    Syntax {
        /// What was given, up to its query.
        given: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A URL of another scheme.
    #[error("{given:?} must start with {expected}")]
    Scheme {
        /// What was given, up to its query.
        given: String,
        /// What would do.
        expected: &'static str,
    },
    /// A URL with a user name or password in it. The text is left out of the message on purpose.
    #[error("the URL carries credentials; they do not belong into a URL")]
    Credentials,
}

/// Reads a URL that has no business with credentials.
fn parse(text: &str) -> Result<Uri<&str>, EndpointError> {
    let uri = parse_uri(text).ok_or_else(|| EndpointError::Syntax {
        given: without_query(text),
        problem: "not a URL; one looks like scheme://host:port/path",
    })?;
    match uri.authority() {
        Some(authority) if authority.has_userinfo() => Err(EndpointError::Credentials),
        _ => Ok(uri),
    }
}

/// Reads a URI (RFC 3986).
pub(crate) fn parse_uri(text: &str) -> Option<Uri<&str>> {
    Uri::parse(text).ok()
}

/// The host, without brackets, and the port; or what is wrong with them.
pub(crate) fn host_and_port(
    uri: &Uri<&str>,
    default_port: Option<u16>,
) -> Result<(String, u16), &'static str> {
    let authority = uri.authority().ok_or("the host is missing")?;
    let host = authority.host();
    let host = match authority.host_parsed() {
        Host::RegName(name) if name.as_str().is_empty() => return Err("the host is missing"),
        Host::RegName(name) if name.as_str().contains('%') => {
            return Err("the host has percent-encoded characters");
        }
        Host::IpvFuture { .. } => return Err("unknown kind of host address"),
        _ => host.trim_start_matches('[').trim_end_matches(']'),
    };
    let port = match authority.port().map(|port| port.as_str()) {
        None | Some("") => default_port.ok_or("the port is missing")?,
        Some(port) => port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or("the port is not a number from 1 to 65535")?,
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn urls_give_host_port_and_security() {
        let cases = [
            ("ws://relay.example", "relay.example", 80, false),
            ("wss://relay.example/mail?x=1", "relay.example", 443, true),
            ("ws://127.0.0.1:8080/", "127.0.0.1", 8080, false),
            ("wss://[::1]:8443/x", "::1", 8443, true),
        ];
        for (text, host, port, tls) in cases {
            let url: WebSocketUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port(), url.is_tls()), (host, port, tls));
            assert_eq!(url.as_str(), text);
        }
    }

    #[test]
    fn what_a_query_says_is_shown_to_nobody() {
        let url: WebSocketUrl = "wss://relay.example/ws?apiKey=secret".parse().unwrap();
        assert_eq!(url.to_string(), "wss://relay.example/ws?…");
        let endpoint = Endpoint::WebSocket(url);
        for shown in [endpoint.to_string(), alloc::format!("{endpoint:?}")] {
            assert!(!shown.contains("secret"), "{shown}");
        }
        for bad in [
            "relay.example?k=secret",
            "http://x/?k=secret",
            "ws://x:0/?k=secret",
        ] {
            let error = bad.parse::<WebSocketUrl>().unwrap_err();
            let shown = alloc::format!("{error} {error:?}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn what_is_no_websocket_url_says_why() {
        let cases = [
            ("relay.example", "not a URL"),
            ("http://relay.example", "must start with ws:// or wss://"),
            ("ws://", "host is missing"),
            ("ws://relay.example:99999", "port is not a number"),
            ("ws://relay.example:0", "port is not a number"),
            ("ws://relay.example/#top", "no fragment"),
            ("ws://key:secret@relay.example", "credentials"),
            ("ws://relay%2eexample", "percent-encoded"),
        ];
        for (text, problem) in cases {
            let error = text.parse::<WebSocketUrl>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn stream_addresses_come_from_uris_of_the_named_schemes() {
        let schemes = [("smtp", false, Some(25)), ("smtps", true, None)];
        let read = |text| StreamAddress::from_uri(text, &schemes, "smtp:// or smtps://");
        assert_eq!(
            read("smtp://mx.example"),
            Ok(StreamAddress::new("mx.example", 25, false))
        );
        assert_eq!(read("smtps://[::1]:465").unwrap().to_string(), "[::1]:465");
        for bad in [
            "smtps://mx.example",
            "smtp://mx.example/inbox",
            "http://mx.example",
            "mx",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
