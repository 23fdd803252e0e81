//! HTTP/1.1 (RFC 9110 and 9112), as much of it as a service of WebSockets needs: the words [`Request`] and [`Response`], and
//! [`Site`], a machine that is asked over HTTP before it is spoken to over WebSockets.
//!
//! A site knows no byte of HTTP; the crate `relay-http` puts one behind a listener for byte streams.
//!
//! ```
//! use relay_proto::http::{Request, Response};
//!
//! let request = Request::new("GET", "/ws?apiKey=a+b%3Dc").with_field("Host", "relay.example");
//! assert_eq!(request.path(), "/ws");
//! assert_eq!(request.query_value("apiKey").as_deref(), Some("a+b=c"));
//! assert_eq!(request.fields().get("host"), Some("relay.example"));
//!
//! let response = Response::json(403, r#"{"error":"this key is not known"}"#);
//! assert_eq!((response.status(), response.reason()), (403, "Forbidden"));
//! ```

mod fields;
mod request;
mod response;
mod site;

pub use fields::Fields;
pub use request::Request;
pub use response::Response;
pub use site::{Answer, Site};
