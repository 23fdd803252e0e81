//! What `relay bridge` is given.

use crate::{
    config::{LogFilter, MAX_MESSAGE_BYTES},
    failure::Failure,
    rules::Network,
    uplink::Uplink,
};
use clap::Args;
use relay_proto::smtp::HostName;
use std::{net::SocketAddr, num::NonZeroU64};

pub(crate) const NOTES: &str = "\
What a mail program is told:
  The reply to the end of data comes when the outcome is known, and it is the outcome: nothing is queued
  on disk, and nothing is accepted that is not accepted behind the relay.

  250  accepted for every recipient: the server's own reply
  250  accepted for some: the reply names those who were refused, and the sender gets a report of them
       (RFC 3464), sent through the relay like any mail
  4yz  not sent; the same may work later: the relay cannot be reached, or refuses the API key (451), there is no
       room (452), or the server behind it said so
  5yz  refused: the server's own reply
  554  5.4.2: sent, and sent again, and each time the reply got lost, so that it may have been delivered
       or not. This is no 4yz, since mail programs would send another copy again and again

  A mail program that hangs up before its message was sent has not sent it. Messages go out one after
  the other and as they are: nothing is added to them and nothing taken away.

Who may send:
  Whoever can connect sends with your API key; there is neither AUTH nor STARTTLS. To listen beyond
  this machine, say with --allow-net for whom.

Stopping:
  SIGTERM or ctrl-c lets messages finish that have been begun; a second one stops at once.

Exit codes:
  0  stopped when asked to
  1  failed while running
  2  cannot start with these settings";

/// What `relay bridge` is given.
#[derive(Args, Debug)]
pub(crate) struct BridgeArgs {
    /// Take mail here; port 0 lets the system choose one
    #[arg(
        long,
        value_name = "ADDR",
        env = "RELAY_LISTEN",
        default_value = "127.0.0.1:2525"
    )]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) uplink: Uplink,
    /// Take mail from this network only; may be given several times [default: this machine]
    #[arg(
        long,
        value_name = "CIDR",
        env = "RELAY_ALLOW_NET",
        value_delimiter = ','
    )]
    pub(crate) allow_net: Vec<Network>,
    /// Take no message with more bytes than this
    #[arg(long, value_name = "N", env = "RELAY_MAX_MESSAGE_BYTES", default_value_t = MAX_MESSAGE)]
    pub(crate) max_message_bytes: NonZeroU64,
    /// Hold no more bytes than this in memory, of all messages together
    #[arg(long, value_name = "N", env = "RELAY_MAX_HELD_BYTES", default_value_t = MAX_HELD)]
    pub(crate) max_held_bytes: NonZeroU64,
    /// The bridge's name in SMTP, and what reports to senders come from
    #[arg(
        long,
        value_name = "NAME",
        env = "RELAY_HOST_NAME",
        default_value = "localhost"
    )]
    pub(crate) host_name: HostName,
    /// What to log: error, warn, info, debug, trace or a filter such as relay=debug
    #[arg(long, value_name = "FILTER", env = "RELAY_LOG", default_value = "info")]
    pub(crate) log: LogFilter,
}

const MAX_MESSAGE: NonZeroU64 = NonZeroU64::new(MAX_MESSAGE_BYTES).expect("it is not zero");

/// Four messages of the largest size.
const MAX_HELD: NonZeroU64 = NonZeroU64::new(4 * MAX_MESSAGE_BYTES).expect("it is not zero");

impl BridgeArgs {
    /// Finds what cannot be meant.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if !self.listen.ip().is_loopback() && self.allow_net.is_empty() {
            return Err(Failure::usage(format_args!(
                "listening on {} would let anyone who can connect send mail in your name: \
                 say with --allow-net who may, or listen on 127.0.0.1",
                self.listen
            )));
        }
        if self.max_held_bytes < self.max_message_bytes {
            return Err(Failure::usage(format_args!(
                "--max-held-bytes {} has no room for a message of --max-message-bytes {}",
                self.max_held_bytes, self.max_message_bytes
            )));
        }
        Ok(())
    }
}
