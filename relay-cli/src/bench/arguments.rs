//! What `relay bench` is told.

use super::letter::SMALLEST;
use crate::{key_choice::KeyChoice, uplink::Uplink, way::Way};
use clap::{ArgMatches, Args};
use relay_proto::{WebSocketUrl, smtp::Address};
use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

pub(crate) const NOTES: &str = "\
Output:
  A small table on standard output: messages a second, the time from handing a message in to its acceptance
  by the mail server, the bytes of all frames, and with --round-trip how many round trips that was.

Exit codes:
  0  every message arrived once
  1  a message was lost, refused, or came twice
  2  the command line is wrong";

/// How often to try to connect to a relay that was named: a benchmark that cannot begin says so at once.
const ATTEMPTS: NonZeroU32 = NonZeroU32::MIN;

/// What `relay bench` is given.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// How many messages to send
    #[arg(long, value_name = "N", default_value = "10000")]
    pub(crate) messages: NonZeroUsize,
    /// How many bytes each message has
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = size)]
    pub(crate) size: usize,
    /// How many callers send, each of whom waits for its message's acceptance before it sends the next
    #[arg(long, value_name = "N", default_value = "10")]
    pub(crate) callers: NonZeroUsize,
    /// How many recipients each message has
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "to")]
    pub(crate) recipients: NonZeroUsize,
    /// Let everything between client and relay take so long, there and back, as on a long line
    #[arg(long, value_name = "MS", value_parser = milliseconds, conflicts_with = "url")]
    pub(crate) round_trip: Option<Duration>,
    /// Use wss:// between client and relay
    #[arg(long, conflicts_with = "url")]
    pub(crate) tls: bool,
    /// Speak the base dialect, one message at a time
    #[arg(long)]
    pub(crate) base_only: bool,
    /// Measure this relay, not one that is started here: ws://HOST:PORT/ or wss://HOST:PORT/. It passes the messages on, so
    /// what is behind it must want them
    #[arg(long, value_name = "URL", requires = "to")]
    pub(crate) url: Option<WebSocketUrl>,
    /// The envelope's sender
    #[arg(long, value_name = "ADDRESS", default_value = "alice@example.org")]
    pub(crate) from: Address,
    /// A recipient; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Vec<Address>,
    #[command(flatten, next_help_heading = "With --url")]
    pub(crate) key: KeyChoice,
    #[command(flatten)]
    pub(crate) way: Way,
}

impl BenchArgs {
    /// Lets the command line win over the environment where two options are one setting.
    pub(crate) fn settle(&mut self, matches: &ArgMatches) {
        self.key.settle(matches);
    }

    /// How to reach the relay that was named, if one was.
    pub(super) fn uplink(&self) -> Option<Uplink> {
        Some(Uplink {
            url: self.url.clone()?,
            key: self.key.clone(),
            way: self.way.clone(),
            attempts: ATTEMPTS,
        })
    }
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size) if size >= SMALLEST => Ok(size),
        Ok(_) => Err(format!("a message has {SMALLEST} bytes at least")),
        Err(error) => Err(format!("not a number of bytes: {error}")),
    }
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let number: u32 = text
        .parse()
        .map_err(|error| format!("not a number of milliseconds: {error}"))?;
    if number == 0 {
        return Err("without a delay, leave it out".to_owned());
    }
    Ok(Duration::from_millis(number.into()))
}
