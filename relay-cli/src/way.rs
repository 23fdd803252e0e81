//! What lies between a client of the program and where it goes: certificates, a proxy, headers.

use crate::{failure::Failure, keys::Secret};
use clap::Args;
use relay_proto::{WebSocketUrl, proxy::Proxies};
use relay_transport::{
    Config, Headers, proxies_from_environment,
    tls::{ClientCertificate, certificates_from_pem},
};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// How to get there.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Way {
    /// Trust the certificates in this PEM file, besides those the system trusts
    #[arg(long, value_name = "FILE", env = "RELAY_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// Show the relay the certificate in this PEM file, own certificate first; needs --client-key
    #[arg(long, value_name = "FILE", env = "RELAY_CLIENT_CERTIFICATE")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// The private key of the client certificate (PEM, not encrypted)
    #[arg(long, value_name = "FILE", env = "RELAY_CLIENT_KEY")]
    pub(crate) client_key: Option<PathBuf>,
    /// Go through this HTTP proxy: http://HOST:PORT or https://, with USER:PASSWORD@ before the host where it wants
    /// to know who comes; none: through none [default: what https_proxy, http_proxy, all_proxy, no_proxy say]
    #[arg(long, value_name = "URL", env = "RELAY_PROXY", hide_env_values = true)]
    pub(crate) proxy: Option<Secret>,
    /// Add this to the WebSocket upgrade request, as in 'Name: value'; may be given several times
    #[arg(
        long,
        value_name = "HEADER",
        env = "RELAY_HEADER",
        hide_env_values = true,
        value_delimiter = '\n'
    )]
    pub(crate) header: Vec<Secret>,
}

impl Way {
    /// What any transport to this address needs.
    ///
    /// # Errors
    ///
    /// Where a file cannot be read, or does not fit the address.
    pub(crate) fn transport(&self, url: &WebSocketUrl) -> Result<Config, Failure> {
        let mut transport = Config::default();
        if let Some(path) = &self.ca {
            let wrong = |error: &dyn fmt::Display| {
                let path = path.display();
                Failure::usage(format_args!("the certificates in {path}: {error}"))
            };
            let pem = fs::read(path).map_err(|error| wrong(&error))?;
            transport.extra_roots = certificates_from_pem(&pem).map_err(|error| wrong(&error))?;
        }
        transport.client_certificate = self.client_certificate(url)?;
        transport.proxies = self.proxies()?;
        transport.headers = self.headers()?;
        Ok(transport)
    }

    fn client_certificate(&self, url: &WebSocketUrl) -> Result<Option<ClientCertificate>, Failure> {
        let (certificate, key) = match (&self.client_certificate, &self.client_key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => {
                return Err(Failure::usage(
                    "--client-certificate without --client-key: give both or neither",
                ));
            }
            (None, Some(_)) => {
                return Err(Failure::usage(
                    "--client-key without --client-certificate: give both or neither",
                ));
            }
        };
        if !url.is_tls() {
            return Err(Failure::usage(format_args!(
                "--client-certificate: {} is not encrypted and takes none; use wss://",
                url
            )));
        }
        let read = |what: &str, path: &Path| {
            fs::read(path).map_err(|error| {
                let path = path.display();
                Failure::usage(format_args!("cannot read the {what} {path}: {error}"))
            })
        };
        let chain = read("client certificate", certificate)?;
        let secret = read("client key", key)?;
        let certificate = ClientCertificate::from_pem(&chain, &secret).map_err(|error| {
            let (certificate, key) = (certificate.display(), key.display());
            Failure::usage(format_args!(
                "--client-certificate {certificate}, --client-key {key}: {error}"
            ))
        })?;
        Ok(Some(certificate))
    }

    fn proxies(&self) -> Result<Proxies, Failure> {
        match &self.proxy {
            None => proxies_from_environment().map_err(Failure::usage),
            Some(Secret(text)) if text == "none" => Ok(Proxies::default()),
            Some(Secret(text)) => {
                let proxy = text.parse();
                let proxy =
                    proxy.map_err(|error| Failure::usage(format_args!("--proxy: {error}")))?;
                Ok(Proxies::all(proxy))
            }
        }
    }

    fn headers(&self) -> Result<Headers, Failure> {
        let mut headers = Headers::default();
        for Secret(line) in self.header.iter().filter(|line| !line.0.trim().is_empty()) {
            headers
                .add_line(line)
                .map_err(|error| Failure::usage(format_args!("--header: {error}")))?;
        }
        Ok(headers)
    }
}

/// Whether what is sent in clear to this address can be read by others.
pub(crate) fn is_exposed(url: &WebSocketUrl) -> bool {
    !url.is_tls() && !is_this_machine(url.host())
}

pub(crate) fn is_this_machine(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "::1"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["relay.example", "192.0.2.1", "::", "localhost.example"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
