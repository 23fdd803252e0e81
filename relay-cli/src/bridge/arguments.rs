//! What `relay bridge` is given.

use super::settings::Layer;
use clap::Args;
use std::path::PathBuf;

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
  Without users, whoever can connect sends with your API key; to listen beyond this machine, say with
  --allow-net for whom. With --user or --users-file, whoever knows a name and its password (AUTH PLAIN
  and LOGIN). With --allow-net as well, both have to be so.

  A password may be kept as its hash by Argon2, so that whoever reads the file cannot use it:

      printf %s PASSWORD | argon2 \"$(openssl rand -base64 16)\" -id -k 19456 -t 2 -e

  PLAIN and LOGIN say the password itself, which is what a hash can be held against. CRAM-MD5 is not offered: it
  would need passwords as they are.

  With --tls-cert and --tls-key the bridge offers STARTTLS, or with --implicit-tls speaks TLS from the
  first byte (smtps, port 465). Passwords are taken behind TLS, and without it from this machine.

Settings:
  Every setting is taken from the first of these that has it: the command line, the environment, the
  file. The ways to name users count as one setting, and so do the two for the key, and --tls-cert and
  --tls-key. In the environment, lists are separated by commas. The file is TOML; its keys are the
  long options without the dashes:

      listen = \"0.0.0.0:587\"
      url = \"wss://relay.example/\"
      api-key-file = \"/etc/relay/key\"
      users-file = \"/etc/relay/users\"
      tls-cert = \"/etc/relay/cert.pem\"
      tls-key = \"/etc/relay/key.pem\"

Stopping:
  SIGTERM or ctrl-c lets messages finish that have been begun; a second one stops at once.

Exit codes:
  0  stopped when asked to
  1  failed while running
  2  cannot start with these settings";

/// What `relay bridge` is given, but for the file.
#[derive(Args, Debug)]
pub(crate) struct BridgeArgs {
    /// Read settings from this TOML file, too
    #[arg(long, value_name = "FILE", env = "RELAY_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) layer: Layer,
}
