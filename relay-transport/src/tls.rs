//! TLS: rustls with ring, certificates from PEM, trust from the platform.

use rustls::{
    ClientConfig, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;
use std::sync::Arc;

/// Why certificates or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Not PEM, or none of what was looked for is in it.
    #[error("no {wanted} in PEM form: {source}")]
    Pem {
        /// What was looked for.
        wanted: &'static str,
        /// What the parser says.
        source: rustls::pki_types::pem::Error,
    },
    /// A key that does not belong to the certificate, or a kind of key that is not supported.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// How accepted byte streams are secured.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a driver that ignored a case would let streams in unprotected"
)]
pub enum StreamTls {
    /// Not at all. A machine that asks for [`StartTls`](relay_proto::Action::StartTls) loses the link.
    #[default]
    None,
    /// From the first byte.
    Implicit(Arc<ServerConfig>),
    /// When the machine asks for it with [`StartTls`](relay_proto::Action::StartTls).
    OnRequest(Arc<ServerConfig>),
}

/// Reads certificates in PEM form (RFC 7468), for a server or for
/// [`Config::extra_roots`](crate::Config::extra_roots).
///
/// # Errors
///
/// Where there is none, or one is damaged.
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Pem {
        wanted: "certificate",
        source,
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if certificates.is_empty() {
        return Err(failed(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// How to be a TLS server, from its certificate chain, own certificate first, and its private key, both in PEM form.
///
/// # Errors
///
/// Where one of them is missing or damaged, or they do not belong together.
pub fn server_config(certificate_chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates_from_pem(certificate_chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|source| TlsError::Pem {
        wanted: "private key",
        source,
    })?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

/// How to be a TLS client that trusts what the platform trusts, and `extra_roots`.
///
/// Reads the platform's certificates, which blocks for some milliseconds.
///
/// # Errors
///
/// Where neither has a certificate that can be used.
pub fn client_config(
    extra_roots: Vec<CertificateDer<'static>>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let verifier = Verifier::new_with_extra_roots(extra_roots, provider())?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        // "Dangerous" is any verifier given by hand; this one is the platform's.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
