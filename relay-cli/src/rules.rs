//! Networks and mail servers, as options and files give them.

use ipnet::IpNet;
use relay_proto::{EndpointError, StreamAddress};
use std::{net::IpAddr, str::FromStr};

/// A network; a lone address is a network of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network(pub(crate) IpNet);

/// Why a text is no network.
#[derive(Debug, thiserror::Error)]
#[error("not a network; one looks like 192.0.2.0/24 or 2001:db8::/32")]
pub(crate) struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let host = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse()
            .or_else(|_| host())
            .map(|network: IpNet| Self(network.trunc()))
            .map_err(|_| NotANetwork)
    }
}

/// The mail server behind the relay.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    pub(crate) address: StreamAddress,
    /// Nothing is said to it in clear but STARTTLS.
    pub(crate) start_tls: bool,
}

impl FromStr for Upstream {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let schemes = [
            ("smtp", false, Some(25)),
            ("smtp+starttls", false, Some(587)),
            ("smtps", true, Some(465)),
        ];
        let expected = "smtp://, smtp+starttls:// or smtps://";
        let address = StreamAddress::from_uri(text, &schemes, expected)?;
        let scheme = text.split(':').next().unwrap_or_default();
        Ok(Self {
            address,
            start_tls: scheme.eq_ignore_ascii_case("smtp+starttls"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_address_is_a_network() {
        let read = |text: &str| text.parse::<Network>().unwrap().0.to_string();
        assert_eq!(read("192.0.2.7"), "192.0.2.7/32");
        assert_eq!(read("192.0.2.7/24"), "192.0.2.0/24");
        assert_eq!(read("2001:db8::1"), "2001:db8::1/128");
        assert!("192.0.2.0/40".parse::<Network>().is_err());
    }

    #[test]
    fn upstreams_have_default_ports() {
        let read = |text: &str| text.parse::<Upstream>().unwrap();
        for (scheme, port, tls, start_tls) in [
            ("smtp", 25, false, false),
            ("smtps", 465, true, false),
            ("SMTP+StartTLS", 587, false, true),
        ] {
            let upstream = read(&format!("{scheme}://mx.example"));
            assert_eq!(
                upstream.address,
                StreamAddress::new("mx.example", port, tls)
            );
            assert_eq!(upstream.start_tls, start_tls);
        }
        for bad in [
            "mx.example:25",
            "http://mx.example",
            "smtp://",
            "smtp://user:word@mx.example",
        ] {
            let error = bad.parse::<Upstream>().unwrap_err().to_string();
            assert!(!error.contains("word"), "{error}");
        }
    }
}
