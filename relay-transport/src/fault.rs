//! What the libraries below report, in the words of the core and for people.

use relay_proto::{CloseCode, Closure, OpenError};
use rustls::{AlertDescription, CertificateError};
use std::{fmt, io, net::SocketAddr, time::Duration};
use tungstenite::{
    self,
    error::{CapacityError, ProtocolError},
    handshake::client::Response,
    protocol::CloseFrame,
};

/// The transport has failed.
pub fn lost(error: io::Error) -> Closure {
    Closure::Lost {
        detail: io_detail(&error),
    }
}

/// The peer has ended the connection without a goodbye.
pub fn end_of_stream() -> Closure {
    Closure::Lost {
        detail: "the peer has ended the connection".to_owned(),
    }
}

/// A message was larger than allowed.
pub fn too_big(size: usize, limit: usize) -> Closure {
    Closure::Violation {
        code: CloseCode::MESSAGE_TOO_BIG,
        detail: format!("a message of {size} bytes, above the limit of {limit}"),
    }
}

/// This side's machine has broken its word; see [`relay_proto::Frame::Text`].
pub fn own_text_is_not_utf8() -> Closure {
    Closure::Lost {
        detail: "this side tried to send a text message that is not UTF-8".to_owned(),
    }
}

/// The peer has sent a close frame.
pub fn closed_by_peer(close: Option<CloseFrame>) -> Closure {
    match close {
        Some(close) => Closure::Peer {
            code: Some(CloseCode(close.code.into())),
            reason: close.reason.as_str().to_owned(),
        },
        None => Closure::Peer {
            code: None,
            reason: String::new(),
        },
    }
}

/// Reading a WebSocket has failed: who is at fault?
pub fn while_reading(error: tungstenite::Error) -> Closure {
    use tungstenite::Error;
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            too_big(size, max_size)
        }
        Error::Utf8(_) => Closure::Violation {
            code: CloseCode::INVALID_PAYLOAD,
            detail: "text that is not UTF-8".to_owned(),
        },
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => end_of_stream(),
        Error::Protocol(error) => Closure::Violation {
            code: CloseCode::PROTOCOL_ERROR,
            detail: error.to_string(),
        },
        error => while_writing(error),
    }
}

/// Writing to a WebSocket has failed.
pub fn while_writing(error: tungstenite::Error) -> Closure {
    match error {
        tungstenite::Error::Io(error) => lost(error),
        error => Closure::Lost {
            detail: error.to_string(),
        },
    }
}

/// The name lookup has failed.
pub fn unresolved(endpoint: String, error: &io::Error) -> OpenError {
    OpenError::Unreachable {
        endpoint,
        detail: unresolved_detail(error),
    }
}

pub(crate) fn unresolved_detail(error: &io::Error) -> String {
    format!("the host name cannot be resolved ({error})")
}

/// The connection could not be made, or broke before it was of use.
pub fn unreachable(endpoint: String, error: &io::Error) -> OpenError {
    OpenError::Unreachable {
        endpoint,
        detail: io_detail(error),
    }
}

/// None of the host's addresses could be connected to: what was tried, in that order.
///
/// ```
/// use relay_transport::fault::all_unreachable;
/// use std::io::{Error, ErrorKind};
///
/// let attempts = [
///     ("[2001:db8::1]:443".parse().unwrap(), Error::from(ErrorKind::TimedOut)),
///     ("192.0.2.1:443".parse().unwrap(), Error::from(ErrorKind::ConnectionReset)),
/// ];
/// let why = all_unreachable("wss://relay.example/".to_owned(), &attempts).to_string();
/// assert!(why.ends_with("tried [2001:db8::1]:443 (no answer), 192.0.2.1:443 (the peer has reset the connection)"));
/// let why = all_unreachable("wss://relay.example/".to_owned(), &[]).to_string();
/// assert!(why.ends_with("the host has no address"));
/// ```
pub fn all_unreachable(endpoint: String, attempts: &[(SocketAddr, io::Error)]) -> OpenError {
    let detail = attempts_detail(attempts);
    OpenError::Unreachable { endpoint, detail }
}

pub(crate) fn attempts_detail(attempts: &[(SocketAddr, io::Error)]) -> String {
    match attempts {
        [] => "the host has no address".to_owned(),
        [(_, error)] => io_detail(error),
        attempts => {
            let tried: Vec<_> = attempts
                .iter()
                .map(|(address, error)| format!("{address} ({})", io_detail(error)))
                .collect();
            format!("tried {}", tried.join(", "))
        }
    }
}

/// This side cannot do TLS with that peer.
pub fn tls_unavailable(endpoint: String, detail: String) -> OpenError {
    OpenError::Tls { endpoint, detail }
}

/// The TLS handshake has failed.
pub fn tls(endpoint: String, error: &io::Error) -> OpenError {
    let detail = tls_detail(error);
    OpenError::Tls { endpoint, detail }
}

/// TLS could not be started on an open link.
pub fn not_secured(detail: impl fmt::Display) -> Closure {
    Closure::Lost {
        detail: format!("TLS cannot be started: {detail}"),
    }
}

/// The TLS handshake on an open link has failed.
pub fn tls_on_link(error: &io::Error) -> Closure {
    match tls_error(error) {
        Some(rustls::Error::InvalidMessage(_)) => not_secured("what the peer says is not TLS"),
        // From a client as well as from a server.
        Some(rustls::Error::AlertReceived(alert)) => not_secured(format_args!(
            "the peer has refused the handshake ({alert:?})"
        )),
        _ => not_secured(tls_detail(error)),
    }
}

/// TLS is to be started where there is none to be had.
pub fn tls_not_prepared() -> Closure {
    not_secured("no certificate was given for this")
}

/// The TLS handshake on an open link takes too long.
pub fn tls_too_slow() -> Closure {
    not_secured("the peer does not finish the handshake")
}

pub(crate) fn tls_detail(error: &io::Error) -> String {
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(problem)) => certificate_detail(problem),
        Some(rustls::Error::InvalidMessage(_)) => {
            "what answers does not speak TLS on this port".to_owned()
        }
        Some(rustls::Error::AlertReceived(alert)) => alert_detail(*alert),
        Some(error) => error.to_string(),
        None => format!(
            "the connection broke during the TLS handshake: {}",
            io_detail(error)
        ),
    }
}

/// Whether TLS failed, and not what is below it.
pub(crate) fn is_tls(error: &io::Error) -> bool {
    tls_error(error).is_some()
}

/// Whether the peer demands a certificate.
pub(crate) fn wants_certificate(error: &io::Error) -> bool {
    let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
    tls_error(error) == Some(&alert)
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// What a server means by an alert (RFC 8446, section 6.2).
fn alert_detail(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => {
            "the server demands a client certificate; give one, and its key".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => format!(
            "the server does not accept the client certificate, or that there is none ({alert:?}); is it one it trusts?"
        ),
        // What servers with TLS 1.2 say where a certificate is missing.
        AlertDescription::HandshakeFailure => {
            "the server has refused the TLS handshake (HandshakeFailure); it may demand a client certificate".to_owned()
        }
        AlertDescription::ProtocolVersion => {
            "the server speaks neither TLS 1.2 nor 1.3".to_owned()
        }
        AlertDescription::UnrecognisedName => "the server knows no host of this name".to_owned(),
        other => format!("the server has refused the TLS handshake ({other:?})"),
    }
}

fn certificate_detail(problem: &CertificateError) -> String {
    let short = match problem {
        CertificateError::UnknownIssuer => {
            "the certificate's issuer is not trusted; add its root certificate if it should be"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate is not valid yet; is the clock right?"
        }
        CertificateError::NotValidForName => "the certificate is for another name",
        CertificateError::BadSignature => {
            "the certificate is not signed by the issuer it names, or by another of that name"
        }
        CertificateError::Revoked => "the certificate has been revoked",
        other => return other.to_string(),
    };
    short.to_owned()
}

/// The WebSocket upgrade has failed, on the client's side.
pub fn upgrade(endpoint: String, error: tungstenite::Error) -> OpenError {
    use tungstenite::Error;
    let not_websocket = |endpoint, detail: &str| OpenError::NotWebSocket {
        endpoint,
        detail: detail.to_owned(),
    };
    match error {
        Error::Http(response) => OpenError::Refused {
            endpoint,
            status: response.status().as_u16(),
            retry_after: retry_after(&response),
        },
        // With TLS 1.3 a server looks at the client's certificate after the client has done its part.
        Error::Io(error) if is_tls(&error) => tls(endpoint, &error),
        Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            not_websocket(endpoint, "it does not answer the upgrade request")
        }
        Error::Io(error) => unreachable(endpoint, &error),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => not_websocket(
            endpoint,
            "it ended the connection without answering the upgrade request",
        ),
        Error::Protocol(ProtocolError::HttparseError(_)) => {
            not_websocket(endpoint, "its answer is not HTTP")
        }
        Error::Protocol(ProtocolError::WrongHttpVersion) => {
            not_websocket(endpoint, "it answers with HTTP/1.0")
        }
        Error::Capacity(_) | Error::AttackAttempt => {
            not_websocket(endpoint, "its answer has too many or too long headers")
        }
        Error::Url(_) | Error::HttpFormat(_) => OpenError::Unreachable {
            endpoint,
            detail: format!("the URL is of no use: {error}"),
        },
        error => not_websocket(endpoint, &error.to_string()),
    }
}

/// `Retry-After` in seconds (RFC 9110, section 10.2.3); its other form, a date, is left out.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get("Retry-After")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// The HTTP response that tells a client why it gets no WebSocket; none: say nothing.
pub fn refusal(error: &tungstenite::Error) -> Option<String> {
    use tungstenite::Error;
    let status_and_headers = match error {
        Error::Protocol(ProtocolError::WrongHttpMethod) => "405 Method Not Allowed\r\nAllow: GET",
        Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader
            | ProtocolError::MissingSecWebSocketVersionHeader,
        ) => "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
        // The last of them was refused by `Origins`, and answered.
        Error::Protocol(ProtocolError::HandshakeIncomplete) | Error::Io(_) | Error::Http(_) => {
            return None;
        }
        Error::Capacity(_) | Error::AttackAttempt => "431 Request Header Fields Too Large",
        _ => "400 Bad Request",
    };
    Some(format!(
        "HTTP/1.1 {status_and_headers}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    ))
}

pub(crate) fn io_detail(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "connection refused; nothing listens on this port".to_owned()
        }
        io::ErrorKind::ConnectionReset => "the peer has reset the connection".to_owned(),
        io::ErrorKind::UnexpectedEof => "the peer has ended the connection".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether the connection that was to be accepted has failed, and not the listener.
pub fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
