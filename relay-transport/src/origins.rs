//! Which web pages may open links.

use std::{str::FromStr, sync::Arc};
use tungstenite::{
    handshake::server::{Callback, ErrorResponse, Request, Response},
    http::{HeaderValue, StatusCode, header::ORIGIN},
};

/// The web pages that may open links, by the origin browsers name in the upgrade request (RFC 6454, section 7; RFC 6455,
/// section 10.2). The default is none: a page of anybody's, open in a browser that can reach a relay, is no client of it.
///
/// Programs name no origin, and are not asked for one.
///
/// ```
/// use relay_transport::Origins;
///
/// let origins = Origins::only(["https://mail.example".parse()?]);
/// assert!(origins.allow("https://mail.example"));
/// assert!(!origins.allow("https://mail.example.org") && !Origins::default().allow("https://mail.example"));
/// # Ok::<(), relay_transport::OriginError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Option<Arc<[Origin]>>);

impl Default for Origins {
    fn default() -> Self {
        Self::only([])
    }
}

impl Origins {
    /// These, and no others.
    pub fn only(origins: impl IntoIterator<Item = Origin>) -> Self {
        Self(Some(origins.into_iter().collect()))
    }

    /// All there are. A page then needs no more than a key to be a client.
    pub const fn any() -> Self {
        Self(None)
    }

    /// Whether a page of this origin may open links.
    pub fn allow(&self, origin: &str) -> bool {
        self.0.as_ref().is_none_or(|allowed| {
            let is_same = |allowed: &Origin| allowed.0.eq_ignore_ascii_case(origin);
            allowed.iter().any(is_same)
        })
    }
}

/// Where an upgrade request names an origin that may not open links, it is answered with 403.
impl Callback for Origins {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        let mut named = request.headers().get_all(ORIGIN).iter();
        let is_allowed = |origin: &HeaderValue| origin.to_str().is_ok_and(|text| self.allow(text));
        if named.all(is_allowed) {
            return Ok(response);
        }
        let mut refusal = ErrorResponse::new(None);
        *refusal.status_mut() = StatusCode::FORBIDDEN;
        let headers = refusal.headers_mut();
        headers.insert("Connection", HeaderValue::from_static("close"));
        headers.insert("Content-Length", HeaderValue::from_static("0"));
        Err(refusal)
    }
}

/// An origin, as browsers write it: `https://mail.example`, with the port where it is not the scheme's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// Why a text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is a scheme and a host, and a port that is not the usual one: https://mail.example:8443"
)]
pub struct OriginError;

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = text.split_once("://").ok_or(OriginError)?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let is_host = !rest.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_graphic())
            && !rest.contains(['/', '?', '#', '@', '\\']);
        let has_usual_port = match scheme.to_ascii_lowercase().as_str() {
            "https" => rest.ends_with(":443"),
            "http" => rest.ends_with(":80"),
            _ => false,
        };
        if is_scheme && is_host && !has_usual_port {
            Ok(Self(text.to_owned()))
        } else {
            Err(OriginError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(origins: &Origins, named: &[&str]) -> u16 {
        let mut request = Request::new(());
        for origin in named {
            let value = HeaderValue::from_str(origin).unwrap();
            request.headers_mut().append(ORIGIN, value);
        }
        match origins.clone().on_request(&request, Response::new(())) {
            Ok(response) => response.status().as_u16(),
            Err(refusal) => refusal.status().as_u16(),
        }
    }

    #[test]
    fn a_page_that_is_not_listed_is_refused_and_a_program_is_not() {
        let listed = Origins::only(["https://mail.example:8443".parse().unwrap()]);
        for (origins, named, status) in [
            (&listed, &[][..], 200),
            (&listed, &["https://mail.example:8443"], 200),
            (&listed, &["HTTPS://Mail.Example:8443"], 200),
            (&listed, &["https://mail.example"], 403),
            (&listed, &["https://mail.example:8443.evil.example"], 403),
            (&listed, &["null"], 403),
            (
                &listed,
                &["https://mail.example:8443", "https://evil.example"],
                403,
            ),
            (&Origins::default(), &[], 200),
            (&Origins::default(), &["https://mail.example:8443"], 403),
            (&Origins::any(), &["https://evil.example"], 200),
        ] {
            assert_eq!(answer(origins, named), status, "{origins:?} {named:?}");
        }
    }

    #[test]
    fn what_browsers_never_send_is_no_origin() {
        for text in [
            "https://a.example",
            "http://[::1]:8080",
            "chrome-extension://abc",
        ] {
            assert!(text.parse::<Origin>().is_ok(), "{text}");
        }
        for text in [
            "",
            "null",
            "*",
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example:443",
            "http://a.example:80",
            "https://user@a.example",
            "https://a example",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
