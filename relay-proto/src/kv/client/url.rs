//! Where a service is.

use super::Credential;
use crate::{EndpointError, WebSocketUrl};
use alloc::{borrow::ToOwned, format, string::String};
use core::{fmt, str::FromStr};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The base URL of a service, as it is given to HPKV's clients: `wss://kv.example`, `https://kv.example/`, `ws://localhost:8080/ws`.
///
/// `http` and `https` count as `ws` and `wss`, slashes at the end do not count, and `/ws` is put behind where it is not there yet.
/// It has no query: key and token belong into [`Credential`].
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl(WebSocketUrl);

impl ServiceUrl {
    /// Where a client with this credential connects. It has the credential in its query, which only
    /// [`as_str`](WebSocketUrl::as_str) shows.
    pub fn websocket(&self, credential: &Credential) -> WebSocketUrl {
        let (name, value) = credential.in_query();
        let value = utf8_percent_encode(value, RESERVED);
        let url = format!("{}?{name}={value}", self.0.as_str());
        url.parse()
            .expect("a URL stays one with a query that is percent-encoded")
    }

    /// The same without a credential.
    pub(in crate::kv) const fn websocket_url(&self) -> &WebSocketUrl {
        &self.0
    }
}

/// Everything but unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Reads a base URL.
impl FromStr for ServiceUrl {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some((given, _)) = text.split_once('?') {
            return Err(EndpointError::Syntax {
                given: given.to_owned() + "?…",
                problem: "a service's URL has no query; key and token are given apart from it",
            });
        }
        let scheme = |from: &str| {
            let head = text.get(..from.len())?;
            head.eq_ignore_ascii_case(from).then(|| &text[from.len()..])
        };
        let schemes = [("http://", "ws://"), ("https://", "wss://")];
        let mut url: String = schemes
            .into_iter()
            .find_map(|(from, to)| Some(to.to_owned() + scheme(from)?))
            .unwrap_or_else(|| text.to_owned());
        url.truncate(url.trim_end_matches('/').len());
        let Some((_, place)) = url.split_once("://") else {
            // Which says what is wrong with it.
            return text.parse().map(Self);
        };
        if !place.contains('/') || !url.ends_with("/ws") {
            url += "/ws";
        }
        url.parse().map(Self)
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_base_becomes_the_address_of_its_websocket() {
        let cases = [
            ("ws://kv.example", "ws://kv.example/ws"),
            ("http://kv.example", "ws://kv.example/ws"),
            ("HTTPS://kv.example/", "wss://kv.example/ws"),
            ("wss://kv.example///", "wss://kv.example/ws"),
            ("wss://kv.example/ws", "wss://kv.example/ws"),
            ("wss://kv.example/ws/", "wss://kv.example/ws"),
            ("https://kv.example/base", "wss://kv.example/base/ws"),
            ("https://kv.example/news", "wss://kv.example/news/ws"),
            ("ws://127.0.0.1:8080", "ws://127.0.0.1:8080/ws"),
            ("ws://[::1]:8080/", "ws://[::1]:8080/ws"),
            ("ws://ws", "ws://ws/ws"),
        ];
        for (base, url) in cases {
            assert_eq!(
                base.parse::<ServiceUrl>().unwrap().to_string(),
                url,
                "{base}"
            );
        }
    }

    #[test]
    fn what_is_no_base_says_why_and_not_the_key() {
        let cases = [
            ("kv.example", "not a URL"),
            ("ftp://kv.example", "must start with"),
            ("ws://", "host is missing"),
            ("ws:///", "host is missing"),
            ("ws://kv.example/ws?apiKey=secret", "no query"),
            ("kv.example?token=secret", "no query"),
            ("ws://user:secret@kv.example", "credentials"),
        ];
        for (base, problem) in cases {
            let error = base.parse::<ServiceUrl>().unwrap_err();
            assert!(error.to_string().contains(problem), "{base}: {error}");
            assert!(
                !format!("{error} {error:?}").contains("secret"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn a_credential_arrives_as_it_is_and_is_shown_to_nobody() {
        let service: ServiceUrl = "wss://kv.example".parse().unwrap();
        let key = service.websocket(&Credential::ApiKey("a+b&x=1 #/é%".to_owned()));
        assert_eq!(
            key.as_str(),
            "wss://kv.example/ws?apiKey=a%2Bb%26x%3D1%20%23%2F%C3%A9%25"
        );
        let token = Credential::Token("s3cret.T_-~".to_owned());
        let url = service.websocket(&token);
        assert_eq!(url.as_str(), "wss://kv.example/ws?token=s3cret.T_-~");
        let shown = format!("{token:?} {url:?} {url} {service:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
