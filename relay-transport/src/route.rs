//! The way to an endpoint: straight, or through a proxy.

use crate::{Config, fault};
use relay_proto::{
    Endpoint, OpenError,
    proxy::{Connect, ConnectError, Proxy, ProxyFault},
};
use std::{io, net::SocketAddr};

/// The way to an endpoint.
///
/// A binding goes it in this order, as far as each step is there:
///
/// 1. TCP to [`first_hop`](Self::first_hop);
/// 2. where the [`proxy`](Self::proxy) has [`is_tls`](Proxy::is_tls), TLS with it, by its name;
/// 3. where there is a [`tunnel`](Self::tunnel), that dialogue;
/// 4. where the endpoint wants it, TLS with the endpoint, by its name;
/// 5. for a WebSocket, the upgrade.
#[derive(Clone, Debug)]
pub struct Route {
    endpoint: Endpoint,
    proxy: Option<Proxy>,
}

impl Route {
    /// The way to this endpoint. A byte stream takes no proxy: mail servers are reached directly.
    pub fn new(endpoint: Endpoint, config: &Config) -> Self {
        let proxy = match &endpoint {
            Endpoint::WebSocket(url) => config.proxies.to(url).cloned(),
            Endpoint::Stream(_) => None,
        };
        Self { endpoint, proxy }
    }

    /// Where it leads.
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The proxy on the way.
    pub const fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// Host and port of whoever is connected to: the proxy, or the endpoint itself.
    pub fn first_hop(&self) -> (&str, u16) {
        match &self.proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => self.server(),
        }
    }

    /// Host and port of the endpoint.
    pub fn server(&self) -> (&str, u16) {
        match &self.endpoint {
            Endpoint::WebSocket(url) => (url.host(), url.port()),
            Endpoint::Stream(to) => (to.host(), to.port()),
        }
    }

    /// Whether TLS is spoken to the endpoint.
    pub const fn is_tls(&self) -> bool {
        match &self.endpoint {
            Endpoint::WebSocket(url) => url.is_tls(),
            Endpoint::Stream(to) => to.is_tls(),
        }
    }

    /// The dialogue with the proxy, where there is one.
    pub fn tunnel(&self) -> Option<Connect> {
        match (&self.endpoint, &self.proxy) {
            (Endpoint::WebSocket(url), Some(proxy)) => Some(Connect::new(url, proxy)),
            _ => None,
        }
    }

    /// The lookup of the [first hop](Self::first_hop) has failed.
    pub fn unresolved(&self, error: &io::Error) -> OpenError {
        match &self.proxy {
            Some(proxy) => {
                let detail = fault::unresolved_detail(error);
                self.fault(proxy, ProxyFault::Unreachable { detail })
            }
            None => fault::unresolved(self.endpoint.to_string(), error),
        }
    }

    /// None of the addresses of the [first hop](Self::first_hop) could be connected to.
    pub fn unreachable(&self, attempts: &[(SocketAddr, io::Error)]) -> OpenError {
        match &self.proxy {
            Some(proxy) => {
                let detail = fault::attempts_detail(attempts);
                self.fault(proxy, ProxyFault::Unreachable { detail })
            }
            None => fault::all_unreachable(self.endpoint.to_string(), attempts),
        }
    }

    /// No address of the [first hop](Self::first_hop) has answered in time.
    pub fn no_answer(&self) -> OpenError {
        let error = io::Error::from(io::ErrorKind::TimedOut);
        match &self.proxy {
            Some(proxy) => {
                let detail = fault::io_detail(&error);
                self.fault(proxy, ProxyFault::Unreachable { detail })
            }
            None => fault::unreachable(self.endpoint.to_string(), &error),
        }
    }

    /// This side cannot do TLS, or not with a host of this name.
    pub fn tls_unavailable(&self, detail: String) -> OpenError {
        fault::tls_unavailable(self.endpoint.to_string(), detail)
    }

    /// The TLS handshake with the endpoint has failed.
    pub fn tls_failed(&self, error: &io::Error) -> OpenError {
        fault::tls(self.endpoint.to_string(), error)
    }

    /// The TLS handshake with the proxy has failed.
    pub fn proxy_tls_failed(&self, error: &io::Error) -> OpenError {
        let detail = match fault::wants_certificate(error) {
            true => "it demands a client certificate, and proxies are shown none".to_owned(),
            false => fault::tls_detail(error),
        };
        self.proxy_failed(ProxyFault::Tls { detail })
    }

    /// The dialogue with the proxy has failed.
    pub fn no_tunnel(&self, error: ConnectError) -> OpenError {
        self.proxy_failed(ProxyFault::Connect(error))
    }

    /// The connection broke during the dialogue with the proxy, or the proxy took too long.
    pub fn tunnel_broke(&self, error: &io::Error) -> OpenError {
        if fault::is_tls(error) {
            return self.proxy_tls_failed(error);
        }
        match error.kind() {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe => self.no_tunnel(ConnectError::Ended),
            io::ErrorKind::TimedOut => self.no_tunnel(ConnectError::Silent),
            _ => self.proxy_failed(ProxyFault::Unreachable {
                detail: fault::io_detail(error),
            }),
        }
    }

    fn proxy_failed(&self, fault: ProxyFault) -> OpenError {
        match &self.proxy {
            Some(proxy) => self.fault(proxy, fault),
            None => fault::unreachable(self.endpoint.to_string(), &io::Error::other(fault)),
        }
    }

    fn fault(&self, proxy: &Proxy, fault: ProxyFault) -> OpenError {
        OpenError::Proxy {
            endpoint: self.endpoint.to_string(),
            proxy: proxy.to_string(),
            fault,
        }
    }
}
