//! The server's half of the opening handshake (RFC 6455, section 4.2).

use bytes::Bytes;
use relay_proto::http::{Request, Response};
use relay_transport::{Origins, fault};
use tungstenite::{
    Error,
    error::ProtocolError,
    handshake::server::{create_response, write_response},
    http,
};

/// Whether the web page this request comes from, if it does from one, is listed.
pub(crate) fn is_welcome(request: &Request, origins: &Origins) -> bool {
    request
        .fields()
        .get_all("Origin")
        .all(|origin| str::from_utf8(origin).is_ok_and(|origin| origins.allow(origin)))
}

/// The response that makes a WebSocket of the connection.
///
/// # Errors
///
/// The one that says why there is none.
pub(crate) fn switch(request: &Request) -> Result<Bytes, Bytes> {
    switching(request).map_err(|error| match fault::refusal(&error) {
        Some(refusal) => refusal.into(),
        None => Response::new(400).to_bytes(request.method()),
    })
}

fn switching(request: &Request) -> Result<Bytes, Error> {
    if !request.is_upgrade() {
        return Err(Error::Protocol(match request.method() {
            "GET" => ProtocolError::MissingUpgradeWebSocketHeader,
            _ => ProtocolError::WrongHttpMethod,
        }));
    }
    // What the library looks at.
    let mut same = http::Request::builder().method(request.method());
    for (name, value) in request.fields().iter() {
        same = same.header(name, value);
    }
    let mut response = Vec::new();
    write_response(&mut response, &create_response(&same.body(())?)?)?;
    Ok(response.into())
}
