//! TLS: rustls with ring, certificates from PEM, trust from the platform.

use crate::Config;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_platform_verifier::Verifier;
use std::{fmt, sync::Arc};

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
        source: pem::Error,
    },
    /// A key that only a passphrase opens.
    #[error("the private key is encrypted; take the passphrase off, as `openssl pkey` does")]
    Encrypted,
    /// A key that does not belong to the certificate, or a kind of key that is not supported.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// Certificates that cannot vouch for others.
    #[error("the root certificates for clients cannot be used: {0}")]
    Roots(String),
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
        return Err(failed(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// Reads a private key in PEM form (RFC 7468).
fn key_from_pem(key: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(key).map_err(|source| {
        let text = String::from_utf8_lossy(key);
        match text.contains("BEGIN ENCRYPTED PRIVATE KEY")
            || text.contains("Proc-Type: 4,ENCRYPTED")
        {
            true => TlsError::Encrypted,
            false => TlsError::Pem {
                wanted: "private key",
                source,
            },
        }
    })
}

/// A certificate with which a client shows who it is, and its private key.
#[derive(Clone)]
pub struct ClientCertificate(Arc<CertifiedKey>);

impl ClientCertificate {
    /// From its chain, own certificate first, and its private key, both in PEM form.
    ///
    /// # Errors
    ///
    /// Where one of them is missing or damaged, or they do not belong together.
    pub fn from_pem(certificate_chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates_from_pem(certificate_chain)?;
        let certified = CertifiedKey::from_der(chain, key_from_pem(key)?, &provider())?;
        Ok(Self(Arc::new(certified)))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("chain", &self.0.cert.len())
            .finish_non_exhaustive()
    }
}

/// How to be a TLS server, from its certificate chain, own certificate first, and its private key, both in PEM form.
///
/// # Errors
///
/// Where one of them is missing or damaged, or they do not belong together.
pub fn server_config(certificate_chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    server_config_verified_by(
        WebPkiClientVerifier::no_client_auth(),
        certificate_chain,
        key,
    )
}

/// How to be a TLS server for clients that have a certificate, which one of `client_roots` vouches for; all three
/// in PEM form. A client without one is sent away before it can say anything.
///
/// # Errors
///
/// Where one of them is missing or damaged, certificate and key do not belong together, or a root cannot be used.
pub fn mutual_server_config(
    certificate_chain: &[u8],
    key: &[u8],
    client_roots: &[u8],
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates_from_pem(client_roots).map_err(unusable_root)? {
        roots.add(root).map_err(unusable_root)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(unusable_root)?;
    server_config_verified_by(verifier, certificate_chain, key)
}

fn unusable_root(error: impl fmt::Display) -> TlsError {
    TlsError::Roots(error.to_string())
}

fn server_config_verified_by(
    verifier: Arc<dyn ClientCertVerifier>,
    certificate_chain: &[u8],
    key: &[u8],
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates_from_pem(certificate_chain)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key_from_pem(key)?)?;
    Ok(Arc::new(config))
}

/// How to be a TLS client to everyone a link may lead by.
#[derive(Clone, Debug)]
pub struct TlsClients {
    /// To the server a link leads to.
    pub server: Arc<ClientConfig>,
    /// To a proxy on the way, which is shown no certificate.
    pub proxy: Arc<ClientConfig>,
}

impl TlsClients {
    /// As the settings say. Reads the platform's certificates, which blocks for some milliseconds.
    ///
    /// # Errors
    ///
    /// Where neither the platform nor the settings have a root certificate that can be used.
    pub fn new(config: &Config) -> Result<Self, rustls::Error> {
        let proxy = client_config(config.extra_roots.clone())?;
        let server = match &config.client_certificate {
            None => Arc::clone(&proxy),
            Some(certificate) => {
                let mut server = ClientConfig::clone(&proxy);
                let resolver = SingleCertAndKey::from(Arc::clone(&certificate.0));
                server.client_auth_cert_resolver = Arc::new(resolver);
                // A session that was begun as somebody else is not to be resumed.
                server.resumption = rustls::client::Resumption::default();
                Arc::new(server)
            }
        };
        Ok(Self { server, proxy })
    }
}

/// A host's name, as a certificate gives it.
///
/// # Errors
///
/// Where no certificate can name such a host.
pub fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| format!("no certificate can name the host {host:?}"))
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

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
