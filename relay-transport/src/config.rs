//! What can be set.

use crate::{Headers, Origins, tls::ClientCertificate};
use relay_proto::proxy::Proxies;
use rustls::pki_types::CertificateDer;
use std::time::Duration;

/// Limits of the transports. The protocol's own settings belong to the machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The largest WebSocket message read, in bytes, whatever the machine's read limit. Default: 1 MiB.
    ///
    /// A message between the read limit and this one is read and then refused, a larger one is refused by
    /// its header; so this bounds the memory a peer can take before the machine has a say.
    pub max_frame_bytes: usize,
    /// How long the closing of a link may take before its socket is dropped. Default: 2 s.
    pub close_timeout: Duration,
    /// How long each step of an opening may take: TCP, the proxy's answer, TLS, the upgrade. Default: 8 s, which is less
    /// than machines commonly allow for all of it, so that the error names what does not answer.
    pub connect_timeout: Duration,
    /// How long an accepted connection may take for TLS and WebSocket upgrade. Default: 10 s.
    pub handshake_timeout: Duration,
    /// How many accepted connections may be in that phase at once, for each listener; more wait in
    /// the listener's backlog. At least one; default: 256.
    pub max_handshakes: usize,
    /// Which web pages may open links to a listener. Default: none; programs need no leave.
    pub origins: Origins,
    /// Root certificates trusted besides the platform's when dialling with TLS. Default: none.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// What is shown to servers that ask for a certificate when dialling with TLS; never to a proxy. Default: none.
    pub client_certificate: Option<ClientCertificate>,
    /// Which HTTP proxy leads to which WebSocket server. Byte streams take none. Default: no proxy, whatever the environment
    /// says; [`proxies_from_environment`](crate::proxies_from_environment) asks it.
    pub proxies: Proxies,
    /// What is added to every WebSocket upgrade request. Default: nothing.
    pub headers: Headers,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_frame_bytes: 1 << 20,
            close_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(8),
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 256,
            origins: Origins::default(),
            extra_roots: Vec::new(),
            client_certificate: None,
            proxies: Proxies::default(),
            headers: Headers::default(),
        }
    }
}
