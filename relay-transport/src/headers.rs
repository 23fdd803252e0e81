//! What an application adds to the upgrade request.

use std::fmt;
use tungstenite::http::{HeaderMap, HeaderName, HeaderValue};

/// What the upgrade itself says (RFC 6455, section 4.1), what would give it a body, and what is for a proxy's eyes only;
/// with them whatever begins with `Sec-WebSocket-`.
const RESERVED: [&str; 6] = [
    "host",
    "connection",
    "upgrade",
    "content-length",
    "transfer-encoding",
    "proxy-authorization",
];

/// Headers for the WebSocket upgrade request, such as a token for a gateway in front of the relay.
///
/// [`Debug`] shows names and no values.
///
/// ```
/// let mut headers = relay_transport::Headers::default();
/// headers.add("Authorization", "Bearer 4711")?;
/// headers.add_line("X-Tenant: example.org")?;
/// assert!(headers.add("Sec-WebSocket-Key", "mine").is_err());
/// assert_eq!(format!("{headers:?}"), r#"["authorization", "x-tenant"]"#);
/// # Ok::<(), relay_transport::HeaderError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(HeaderMap);

impl Headers {
    /// Adds one; others of the same name stay.
    ///
    /// # Errors
    ///
    /// Where `name` is none, or one that the upgrade needs for itself, and where `value` has anything in it but visible
    /// ASCII characters, spaces and tabs (RFC 9110, section 5.5).
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), HeaderError> {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Name)?;
        if RESERVED.contains(&header.as_str()) || header.as_str().starts_with("sec-websocket-") {
            let name = name.to_owned();
            return Err(HeaderError::Reserved { name });
        }
        let mut value = Some(value)
            .filter(|value| value.is_ascii())
            .and_then(|value| HeaderValue::from_str(value).ok())
            .ok_or_else(|| HeaderError::Value {
                name: name.to_owned(),
            })?;
        value.set_sensitive(true);
        self.0.append(header, value);
        Ok(())
    }

    /// Adds one from a line such as `Name: value`.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add), and where there is no colon.
    pub fn add_line(&mut self, line: &str) -> Result<(), HeaderError> {
        let (name, value) = line.split_once(':').ok_or(HeaderError::Line)?;
        self.add(name, value.trim())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub(crate) const fn as_map(&self) -> &HeaderMap {
        &self.0
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.keys().map(HeaderName::as_str))
            .finish()
    }
}

/// Why a header cannot be added. Values are left out on purpose, and what may be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// No colon.
    #[error("a header is given as Name: value, with a colon")]
    Line,
    /// No name.
    #[error("a header's name has letters, digits and hyphens only, with no space before the colon")]
    Name,
    /// A name that is taken.
    #[error("the header {name} cannot be set: the WebSocket upgrade or the proxy's URL says it")]
    Reserved {
        /// The header.
        name: String,
    },
    /// A value that cannot be sent.
    #[error(
        "the value of the header {name} has control characters in it, or characters outside of ASCII"
    )]
    Value {
        /// The header.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(line: &str) -> String {
        let mut headers = Headers::default();
        let complaint = headers.add_line(line).unwrap_err().to_string();
        assert!(headers.is_empty());
        complaint
    }

    #[test]
    fn headers_are_kept_in_full_and_shown_by_name() {
        let mut headers = Headers::default();
        for line in [
            "Cookie: a=hunter2",
            "cookie:b",
            "X-Empty:",
            "Origin:\t x y ",
        ] {
            headers.add_line(line).unwrap();
        }
        let values = |name| headers.as_map().get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(values("cookie"), ["a=hunter2", "b"]);
        assert_eq!(values("x-empty"), [""]);
        assert_eq!(values("origin"), ["x y"]);
        assert!(!format!("{headers:?} {:?}", headers.as_map()).contains("hunter2"));
    }

    #[test]
    fn what_the_upgrade_says_itself_cannot_be_set() {
        for name in [
            "Host",
            "CONNECTION",
            "Upgrade",
            "Sec-WebSocket-Key",
            "sec-websocket-version",
            "Sec-WebSocket-Protocol",
            "Sec-WebSocket-Extensions",
            "Content-Length",
            "Transfer-Encoding",
            "Proxy-Authorization",
        ] {
            let complaint = complaint(&format!("{name}: hunter2"));
            assert!(complaint.contains(name), "{complaint}");
            assert!(!complaint.contains("hunter2"), "{complaint}");
        }
    }

    #[test]
    fn nothing_is_smuggled_in() {
        for (line, part) in [
            ("hunter2", "with a colon"),
            ("a b: hunter2", "name has letters"),
            (": hunter2", "name has letters"),
            ("X-A\r\nX-B: hunter2", "name has letters"),
            ("X-A: hunter2\r\nX-B: c", "the value of the header X-A"),
            ("X-A: hunter2\0", "the value of the header X-A"),
            ("X-A: hünter2", "the value of the header X-A"),
        ] {
            let complaint = complaint(line);
            assert!(complaint.contains(part), "{complaint}");
            assert!(!complaint.contains("nter2"), "{complaint}");
        }
    }
}
