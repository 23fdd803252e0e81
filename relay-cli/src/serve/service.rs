//! A relay with what stands behind it.

use super::log;
use crate::{
    config::{Destination, Settings},
    failure::Failure,
    known_keys::KnownKeys,
    mailbox::{Directory, MailboxServer},
};
use futures_util::StreamExt;
use relay_proto::{
    StreamAddress,
    mail::{
        relay::{Policy, RecipientPattern, RelayConfig},
        wire::Denied,
    },
    smtp::Access,
};
use relay_storage::StorageFile;
use relay_tokio::{
    Config,
    mail::{Presented, Relay},
};
use std::{collections::BTreeSet, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// A running relay, and its mailbox where it has one.
#[derive(Debug)]
pub(crate) struct Service {
    relay: Relay,
    mailbox: Option<MailboxServer>,
    address: SocketAddr,
    is_tls: bool,
}

impl Service {
    /// Starts it, and logs what happens in it.
    ///
    /// # Errors
    ///
    /// Where the address is taken, or the mailbox cannot be written to.
    pub(crate) async fn start(settings: Settings) -> Result<Self, Failure> {
        let Settings {
            listen,
            api_keys,
            destination,
            upstream_roots,
            upstream_connections,
            upstream_idle,
            max_held_bytes,
            key_links,
            key_messages,
            key_rate,
            ledger,
            base_only,
            tls,
            allow_sender,
            allow_net,
            origins,
            mut allow_rcpt,
            max_message_bytes,
            host_name,
            ..
        } = settings;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|error| Failure::usage(format_args!("cannot listen on {listen}: {error}")))?;
        let address = listener.local_addr().map_err(Failure::running)?;

        let ledger = ledger.as_deref().map(open_ledger).transpose()?;

        // The mailbox knows its own recipients and refuses others as a mail server does.
        let (upstream, access, mailbox) = match destination {
            Destination::Upstream(upstream, access) => (upstream, access, None),
            Destination::Mailbox(root) => {
                let recipients = std::mem::take(&mut allow_rcpt);
                let mailbox = start_mailbox(&root, recipients, max_message_bytes).await?;
                let address = mailbox.address();
                let upstream = StreamAddress::new(address.ip().to_string(), address.port(), false);
                (upstream, Access::NONE, Some(mailbox))
            }
        };
        let mut policy = Policy {
            sender_domains: allow_sender,
            networks: allow_net,
            recipients: allow_rcpt,
            max_message_bytes: Some(max_message_bytes),
            max_links: key_links,
            rate: key_rate,
            ..Policy::default()
        };
        policy.max_channels = key_messages.unwrap_or(policy.max_channels);
        let mut config = RelayConfig::new(upstream, host_name);
        config.upstream_access = access;
        config.max_upstreams = upstream_connections.unwrap_or(config.max_upstreams);
        config.max_held_bytes = max_held_bytes.unwrap_or(config.max_held_bytes);
        config.pool.max_idle = upstream_idle.unwrap_or(config.pool.max_idle);
        config.durable = !base_only;
        let mut transport = Config::default();
        transport.extra_roots = upstream_roots;
        transport.origins = origins;
        let keys = admission(api_keys, policy);
        let relay = match ledger {
            Some(file) => Relay::start_with_ledger(config, keys, transport, file)
                .await
                .map_err(|error| {
                    Failure::usage(format_args!("the ledger is of no use: {error}"))
                })?,
            None => Relay::start(config, keys, transport),
        };
        let mut events = relay.events().await.map_err(Failure::running)?;
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                log::event(&event);
            }
        });
        let is_tls = tls.is_some();
        relay.listen(listener, tls);
        Ok(Self {
            relay,
            mailbox,
            address,
            is_tls,
        })
    }
}

impl Service {
    /// Where clients reach it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        format!("{scheme}://{}/", self.address)
    }

    /// The relay itself.
    pub(crate) const fn relay(&self) -> &Relay {
        &self.relay
    }

    /// Whether clients connect with TLS.
    pub(crate) const fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Where clients connect to.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends away the clients of these accounts, whose keys are no longer good.
    pub(crate) async fn revoke(&self, accounts: BTreeSet<String>) {
        for account in accounts {
            self.relay.revoke(account).await;
        }
    }

    /// Takes nobody new, lets clients finish what they have begun for up to `patience`, and ends.
    pub(crate) async fn drain(&self, patience: Duration) {
        self.relay.drain(patience).await;
        self.end_mailbox().await;
    }

    /// Ends at once.
    pub(crate) async fn stop(&self) {
        self.relay.stop().await;
        self.end_mailbox().await;
    }

    /// Waits until the relay has ended.
    pub(crate) async fn finished(&self) {
        self.relay.finished().await;
    }

    /// The relay was the mailbox's only client, so nothing is under way there.
    async fn end_mailbox(&self) {
        if let Some(mailbox) = &self.mailbox {
            mailbox.shutdown().await;
        }
    }
}

async fn start_mailbox(
    root: &Path,
    recipients: Vec<RecipientPattern>,
    max_message_bytes: u64,
) -> Result<MailboxServer, Failure> {
    let takes_all = recipients.is_empty();
    let unusable = |error| {
        Failure::usage(format_args!(
            "cannot keep mail in {}: {error}",
            root.display()
        ))
    };
    let directory = Directory::open(root, recipients).map_err(unusable)?;
    let mailbox = MailboxServer::start(directory, max_message_bytes)
        .await
        .map_err(Failure::running)?;
    tracing::info!(directory = %root.display(), address = %mailbox.address(), "mailbox started");
    if takes_all {
        tracing::warn!("no --allow-rcpt: the mailbox takes mail for every address");
    }
    Ok(mailbox)
}

fn open_ledger(path: &Path) -> Result<StorageFile, Failure> {
    StorageFile::open(path).map_err(|error| {
        Failure::usage(format_args!(
            "cannot keep the ledger in {}: {error}",
            path.display()
        ))
    })
}

/// One policy for all keys, and an account for each.
fn admission(
    keys: Arc<KnownKeys>,
    policy: Policy,
) -> impl Fn(Presented) -> Result<Policy, Denied> + Send + Sync + 'static {
    move |presented| {
        let key = keys.find(&presented.key);
        let key = key.ok_or_else(|| Denied::for_good("unknown API key"))?;
        let account = key.account();
        let policy = policy.clone();
        Ok(Policy { account, ..policy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_proto::{
        LinkId,
        mail::{relay::Event, wire::ApiKey},
    };

    #[test]
    fn each_key_has_an_account_of_its_own() {
        let given = [ApiKey::new("one"), ApiKey::new("two")];
        let known = Arc::new(KnownKeys::new(&given, None).unwrap());
        let look_up = admission(known, Policy::default());
        let present = |key| {
            let (link, key) = (LinkId::accepted(0), ApiKey::new(key));
            let (agent, peer) = (None, None);
            let event = Event::KeyPresented {
                link,
                key,
                agent,
                peer,
            };
            look_up(Presented::from_event(event).unwrap().1)
        };
        let [one, two] = ["one", "two"].map(|key| present(key).unwrap().account);
        assert!(!one.is_empty() && one != two);
        assert_eq!(present("three").unwrap_err().error, "unknown API key");
    }
}
