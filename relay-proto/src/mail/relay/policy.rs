//! What the holder of a key may send.

#[cfg(doc)]
use super::RelayConfig;
use crate::{
    mail::wire::Limits,
    pacing::Rate,
    smtp::{Address, AddressError, ForwardPath, Reply, ReversePath, reply},
};
use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::{fmt, net::IpAddr, str::FromStr};
use ipnet::IpNet;

/// What the holder of a key may send. The default allows everything to up to 100 recipients a message.
///
/// A sender that is not allowed, or that comes from elsewhere than the allowed networks, is refused at MAIL with
/// `550 5.7.1 Sender domain not authorized for your IP or subnet`, a recipient at RCPT with
/// `550 5.7.1 Recipient not allowed for this API key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whose key it is: sessions and deliveries of another account do not exist for the client. The same for the same key over
    /// restarts, and no secret, since it is written into the ledger. Default: empty, the same for everybody.
    pub account: String,
    /// The domains mail may come from; empty: any. Where there are some, the null reverse-path `<>` is
    /// refused, since it names none of them.
    pub sender_domains: Vec<Domain>,
    /// The networks the client may connect from; empty: any. Where there are some, a client whose address
    /// the transport does not know is refused.
    pub networks: Vec<IpNet>,
    /// The recipients mail may go to; empty: any. `<Postmaster>` without a domain always passes (RFC 5321, section 4.5.1):
    /// it is the upstream's own.
    pub recipients: Vec<RecipientPattern>,
    /// The largest message in bytes, if there is a limit; the upstream may have a lower one.
    pub max_message_bytes: Option<u64>,
    /// The most recipients of one message. Default 100 (RFC 5321, section 4.5.3.1.8).
    pub max_recipients: usize,
    /// The most links the account has at once. A client that comes for one more is refused for the moment, and told when to come
    /// back. Default `None`: its share of [`RelayConfig::max_links`].
    pub max_links: Option<usize>,
    /// The most channels the account has at once on all its links: messages, of which one more is refused for the moment. Default
    /// 4096, several times what the connections to a mail server carry at once.
    pub max_channels: usize,
    /// How many bytes the relay holds for the account before it takes no further message from it, for the moment. Default `None`: its
    /// share of [`RelayConfig::max_held_bytes`].
    pub max_held_bytes: Option<usize>,
    /// How many messages the account sends at most, on all its links. One that comes earlier is refused for the moment: in the durable
    /// dialect with its channel, by code 450 and the time after which the next may come; in the base dialect at MAIL with `450 4.7.1`,
    /// and before that, where no further message may come yet, with the channel. Deliveries the ledger knows cost nothing. Default
    /// `None`: as many as it can.
    ///
    /// The account's links should agree on it: each message is measured by the policy of the link it comes on.
    pub rate: Option<Rate>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            account: String::new(),
            sender_domains: Vec::new(),
            networks: Vec::new(),
            recipients: Vec::new(),
            max_message_bytes: None,
            max_recipients: 100,
            max_links: None,
            max_channels: 4096,
            max_held_bytes: None,
            rate: None,
        }
    }
}

impl Policy {
    /// What the client is told when its key is granted.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            max_message_bytes: self.max_message_bytes,
            max_recipients: u64::try_from(self.max_recipients).ok(),
        }
    }

    pub(super) fn check_sender(
        &self,
        sender: &ReversePath,
        peer: Option<IpAddr>,
    ) -> Result<(), Reply> {
        // A dual-stack listener reports IPv4 peers as ::ffff:a.b.c.d.
        let peer = peer.map(|peer| peer.to_canonical());
        let network_allowed = self.networks.is_empty()
            || peer.is_some_and(|peer| self.networks.iter().any(|network| network.contains(&peer)));
        let domain_allowed = self.sender_domains.is_empty()
            || sender.address().is_some_and(|address| {
                self.sender_domains.iter().any(|domain| domain.has(address))
            });
        if network_allowed && domain_allowed {
            Ok(())
        } else {
            Err(reply(
                550,
                "5.7.1",
                "Sender domain not authorized for your IP or subnet",
            ))
        }
    }

    pub(super) fn check_recipient(&self, recipient: &ForwardPath) -> Result<(), Reply> {
        let allowed = self.recipients.is_empty()
            || recipient
                .address()
                .is_none_or(|address| self.recipients.iter().any(|pattern| pattern.has(address)));
        if allowed {
            Ok(())
        } else {
            Err(reply(
                550,
                "5.7.1",
                "Recipient not allowed for this API key",
            ))
        }
    }
}

/// A mail domain, or an address literal in brackets. It stands for itself, not for its subdomains.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Domain(String);

impl Domain {
    /// Whether the address is in this domain, whatever the case of ASCII letters.
    pub fn has(&self, address: &Address) -> bool {
        address.has_domain(&self.0)
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let probe: Address = format!("a@{text}").parse()?;
        Ok(Self(probe.domain().to_owned()))
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Recipients a policy allows: one address, or all of a domain. Reads `user@example.org` and `example.org`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::exhaustive_enums, reason = "an entry has an @ or it has none")]
pub enum RecipientPattern {
    /// One address. As mail systems do in practice, the case of ASCII letters does not count, in the local part neither.
    Address(Address),
    /// Every address of a domain.
    Domain(Domain),
}

impl RecipientPattern {
    /// Whether the pattern stands for this address.
    pub fn has(&self, address: &Address) -> bool {
        match self {
            Self::Address(allowed) => {
                address.has_domain(allowed.domain())
                    && allowed
                        .local_part()
                        .eq_ignore_ascii_case(address.local_part())
            }
            Self::Domain(domain) => domain.has(address),
        }
    }
}

impl FromStr for RecipientPattern {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains('@') {
            text.parse().map(Self::Address)
        } else {
            text.parse().map(Self::Domain)
        }
    }
}

impl fmt::Display for RecipientPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
        }
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
