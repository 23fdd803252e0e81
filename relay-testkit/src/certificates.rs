//! A certificate authority, and what it signs.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use relay_transport::tls::{self, ClientCertificate};
use rustls::{ServerConfig, pki_types::CertificateDer};
use std::{fmt, sync::Arc};

/// A certificate and its private key, both in PEM form.
#[expect(clippy::exhaustive_structs, reason = "tests take it apart")]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// A TLS server that shows it.
    ///
    /// # Panics
    ///
    /// Never: certificate and key belong together.
    pub fn server(&self) -> Arc<ServerConfig> {
        tls::server_config(self.certificate.as_bytes(), self.key.as_bytes()).unwrap()
    }

    /// The same, which demands a certificate of this authority from its clients.
    pub(crate) fn demanding_server(&self, clients: &Authority) -> Arc<ServerConfig> {
        let Self { certificate, key } = self;
        let roots = clients.root.as_bytes();
        tls::mutual_server_config(certificate.as_bytes(), key.as_bytes(), roots).unwrap()
    }

    /// What a client shows.
    pub(crate) fn client(&self) -> ClientCertificate {
        ClientCertificate::from_pem(self.certificate.as_bytes(), self.key.as_bytes()).unwrap()
    }
}

/// A certificate authority.
pub struct Authority {
    root: String,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// One of this name.
    ///
    /// # Panics
    ///
    /// Where no key can be made.
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new([]).unwrap();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = authority.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(authority, key);
        Self { root, issuer }
    }

    /// The certificate to trust, in PEM form.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The certificate to trust, for [`extra_roots`](relay_transport::Config::extra_roots).
    ///
    /// # Panics
    ///
    /// Never: it is one.
    pub fn roots(&self) -> Vec<CertificateDer<'static>> {
        tls::certificates_from_pem(self.root.as_bytes()).unwrap()
    }

    /// For a server or a client of this name.
    ///
    /// # Panics
    ///
    /// Where no key can be made, or `name` is none.
    pub fn identity(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut certificate = CertificateParams::new([name.to_owned()]).unwrap();
        certificate.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = certificate.signed_by(&key, &self.issuer).unwrap().pem();
        let key = key.serialize_pem();
        Identity { certificate, key }
    }
}
