//! The server's side of TLS, as tokio-rustls wants it.

use relay_transport::tls::{TlsError, server_config};
use tokio_rustls::TlsAcceptor;

/// Makes a TLS server from its certificate chain, own certificate first, and its private key, both in PEM form.
///
/// # Errors
///
/// Where one of them is missing or damaged, or they do not belong together.
pub fn tls_acceptor(certificate_chain: &[u8], key: &[u8]) -> Result<TlsAcceptor, TlsError> {
    server_config(certificate_chain, key).map(TlsAcceptor::from)
}
