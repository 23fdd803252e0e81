//! Who may send to whom: domains, addresses and networks as options and files give them.

use ipnet::IpNet;
use relay_proto::{
    StreamAddress,
    smtp::{Address, AddressError},
};
use std::{net::IpAddr, str::FromStr};

/// Why a text is no rule.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuleError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error("this is an address; give its domain alone")]
    NotADomain,
    #[error("not a network; one looks like 192.0.2.0/24 or 2001:db8::/32")]
    Network,
    #[error("{0}")]
    Endpoint(#[from] relay_proto::EndpointError),
}

/// A mail domain, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Domain(pub(crate) String);

impl FromStr for Domain {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text.contains('@') {
            return Err(RuleError::NotADomain);
        }
        // The grammar of domains is that of addresses.
        let address: Address = format!("postmaster@{text}").parse()?;
        Ok(Self(address.domain().to_lowercase()))
    }
}

/// One address, or all addresses of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipients {
    Address(Address),
    Domain(Domain),
}

impl FromStr for Recipients {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        if text.contains('@') {
            Ok(Self::Address(text.parse()?))
        } else {
            Ok(Self::Domain(text.parse()?))
        }
    }
}

/// A network; a lone address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) IpNet);

impl FromStr for Network {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let host = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse()
            .or_else(|_| host())
            .map(|network: IpNet| Self(network.trunc()))
            .map_err(|_| RuleError::Network)
    }
}

/// The mail server behind the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream(pub(crate) StreamAddress);

impl FromStr for Upstream {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let schemes = [("smtp", false, Some(25)), ("smtps", true, Some(465))];
        let address = StreamAddress::from_uri(text, &schemes, "smtp:// or smtps://")?;
        Ok(Self(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipient_rule_is_an_address_or_a_domain() {
        assert!(matches!(
            "Bob@Example.org".parse(),
            Ok(Recipients::Address(_))
        ));
        assert!(
            matches!("Example.ORG".parse(), Ok(Recipients::Domain(Domain(name))) if name == "example.org")
        );
        for bad in ["", "@", "bob@", "two words", "exa mple.org", "a,b"] {
            assert!(bad.parse::<Recipients>().is_err(), "{bad}");
        }
    }

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
        let read = |text: &str| text.parse::<Upstream>().unwrap().0;
        assert_eq!(
            read("smtp://mx.example"),
            StreamAddress::new("mx.example", 25, false)
        );
        assert_eq!(
            read("smtps://mx.example"),
            StreamAddress::new("mx.example", 465, true)
        );
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
