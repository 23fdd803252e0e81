//! HTTP/1.1 (RFC 9110 and 9112), as much of it as a service of WebSockets needs: the words [`Request`] and [`Response`], and
//! [`Site`], a machine that is asked over HTTP before it is spoken to over WebSockets.
//!
//! Between them and bytes: [`RequestReader`], and [`Response::to_bytes`], for servers; [`Request::to_bytes`], and [`Exchange`], for
//! clients. A connection carries one request and its response, or becomes a WebSocket; it is never used again.
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

mod body;
mod exchange;
mod fields;
pub(crate) mod head;
mod reader;
mod request;
mod response;
mod site;

pub use exchange::{Exchange, ExchangeError, Progress};
pub use fields::Fields;
pub use reader::{Reading, RequestError, RequestReader};
pub use request::Request;
pub use response::Response;
pub use site::{Answer, Site};
