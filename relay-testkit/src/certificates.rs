//! Certificates for `localhost`, made on the spot.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use relay_transport::tls;
use rustls::{ServerConfig, pki_types::CertificateDer};
use std::sync::Arc;

/// A certificate authority of this name, and a server for `localhost` with a certificate signed by it.
///
/// # Panics
///
/// Where no key can be made.
pub fn certificates(authority: &str) -> (CertificateDer<'static>, Arc<ServerConfig>) {
    let mut params = CertificateParams::new([]).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, authority);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let server = tls::server_config(certificate.pem().as_bytes(), key.serialize_pem().as_bytes());
    (issuer.der().clone(), server.unwrap())
}
