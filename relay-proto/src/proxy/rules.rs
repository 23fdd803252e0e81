//! Which proxy leads to which server.

use super::{Proxy, ProxyUrlError};
use crate::WebSocketUrl;
use alloc::{borrow::ToOwned, string::String, vec::Vec};
use core::net::IpAddr;
use ipnet::IpNet;

/// Which proxy, if any, leads to which server. By default none: every server is reached directly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    plain: Option<Proxy>,
    secure: Option<Proxy>,
    exempt: Vec<Exemption>,
}

impl Proxies {
    /// Every server through this one, those on this machine included.
    pub fn all(proxy: Proxy) -> Self {
        Self {
            plain: Some(proxy.clone()),
            secure: Some(proxy),
            exempt: Vec::new(),
        }
    }

    /// What the usual environment variables say; `value_of` gives the value of the one with this name.
    ///
    /// | variable | says |
    /// | --- | --- |
    /// | `https_proxy`, `HTTPS_PROXY` | the proxy to `wss://` servers |
    /// | `http_proxy` | the proxy to `ws://` servers. Not in upper case: a web server that runs CGI programs sets `HTTP_PROXY` to what a client sends as `Proxy:` |
    /// | `all_proxy`, `ALL_PROXY` | the proxy where the others are not set |
    /// | `no_proxy`, `NO_PROXY` | servers that are reached directly |
    ///
    /// The first that is set counts, even where it is empty, which means no proxy. In the list of exempt servers,
    /// which commas or spaces separate, stand
    ///
    /// - `*`: all of them;
    /// - a name: that host and all below it, whether it begins with a dot (or `*.`) or not;
    /// - an IP address, or a network as in `10.0.0.0/8`: hosts that the URL names by address;
    /// - each of them but `*` and a network also as `HOST:PORT`, for that port only.
    ///
    /// This machine itself (`localhost`, what ends in `.localhost`, loopback addresses) is always exempt: a proxy that is set
    /// for all programs cannot lead to it.
    ///
    /// # Errors
    ///
    /// Where one of those values cannot be understood. A proxy's is not repeated, as there may be a password in it.
    pub fn from_variables(
        value_of: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, VariableError> {
        let first = |names: &[&'static str]| {
            names
                .iter()
                .find_map(|name| Some((*name, value_of(name)?)))
                .filter(|(_, value)| !value.trim().is_empty())
        };
        let proxy = |names: &[&'static str]| match first(names) {
            Some((name, value)) => match value.parse() {
                Ok(proxy) => Ok(Some(proxy)),
                Err(why) => Err(VariableError::Proxy { name, why }),
            },
            None => Ok(None),
        };
        let mut exempt: Vec<_> = ["localhost", "127.0.0.0/8", "::1"]
            .into_iter()
            .filter_map(Exemption::parse)
            .collect();
        if let Some((name, value)) = first(&["no_proxy", "NO_PROXY"]) {
            for entry in value
                .split([',', ' ', '\t'])
                .filter(|entry| !entry.is_empty())
            {
                exempt.push(
                    Exemption::parse(entry).ok_or_else(|| VariableError::Exemption {
                        name,
                        entry: entry.to_owned(),
                    })?,
                );
            }
        }
        Ok(Self {
            plain: proxy(&["http_proxy", "all_proxy", "ALL_PROXY"])?,
            secure: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            exempt,
        })
    }

    /// The proxy to this server; none: it is reached directly.
    pub fn to(&self, server: &WebSocketUrl) -> Option<&Proxy> {
        let proxy = match server.is_tls() {
            true => self.secure.as_ref(),
            false => self.plain.as_ref(),
        };
        proxy.filter(|_| !self.exempt.iter().any(|exemption| exemption.covers(server)))
    }
}

impl From<Proxy> for Proxies {
    fn from(proxy: Proxy) -> Self {
        Self::all(proxy)
    }
}

/// A server, or many, that are reached directly.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exemption {
    All,
    Network(IpNet),
    Address(IpAddr, Option<u16>),
    /// Lower case, without dots at its ends.
    Name(String, Option<u16>),
}

impl Exemption {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if entry.contains('/') {
            return entry.parse().ok().map(Self::Network);
        }
        if let Some(address) = address(entry) {
            return Some(Self::Address(address, None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (entry, None),
        };
        if let Some(address) = address(host) {
            return Some(Self::Address(address, port));
        }
        let name = host.strip_prefix('*').unwrap_or(host).trim_matches('.');
        let is_name = !name.is_empty() && !name.contains([':', '[', ']']);
        is_name.then(|| Self::Name(name.to_ascii_lowercase(), port))
    }

    fn covers(&self, server: &WebSocketUrl) -> bool {
        let is_port = |port: &Option<u16>| port.is_none_or(|port| port == server.port());
        match self {
            Self::All => true,
            Self::Network(network) => {
                address(server.host()).is_some_and(|address| network.contains(&address))
            }
            Self::Address(exempt, port) => is_port(port) && address(server.host()) == Some(*exempt),
            Self::Name(name, port) => {
                let host = server.host().trim_end_matches('.').to_ascii_lowercase();
                let above = host.strip_suffix(&**name);
                is_port(port) && above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        }
    }
}

/// An IP address, in brackets or not; an IPv4 address in IPv6's clothes is an IPv4 address.
fn address(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical())
}

/// Why a variable says nothing about proxies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VariableError {
    /// No usable proxy.
    #[error("{name}: {why}")]
    Proxy {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        why: ProxyUrlError,
    },
    /// An entry of the list of exempt servers is neither a name, an address nor a network.
    #[error(
        "{name}: {entry:?} is neither a host name, an IP address nor a network such as 10.0.0.0/8"
    )]
    Exemption {
        /// The variable.
        name: &'static str,
        /// The entry.
        entry: String,
    },
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
