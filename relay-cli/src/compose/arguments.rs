//! What `relay compose` is given.

use super::people::People;
use crate::{args::PriorityName, uplink::Uplink};
use clap::Args;

pub(crate) const NOTES: &str = "\
Writing:
  What is not given is asked for: who it is from and to, the subject, and then the text, up to
  ctrl-d on a line of its own. People are written as mail programs write them, with commas between
  them: Alice <alice@example.org>, bob@example.net. What is no address is asked for again. Before
  anything is sent the message is shown in short and you are asked; ctrl-c cancels at any time.

  Without a terminal on standard input and output nobody is asked: the first lines answer what is
  not given, in the order From, To, Subject, the rest is the text, and it is sent at once.

Afterwards:
  On standard output that it was accepted, and who was refused, with the server's replies; on
  standard error what failed. A message that was written on a terminal and not accepted for
  everybody is kept in a file.

Exit codes:
  0    accepted for every recipient
  1    the terminal or standard input failed
  2    the command line is wrong, or what was read is
  3    the relay refused the API key
  4    the relay cannot be reached, or the connection broke too often
  5    the message was refused
  6    the message was sent, but its reply got lost: it may have been delivered or not
  7    accepted, but not for every recipient
  130  cancelled; nothing was sent";

/// What `relay compose` is given.
#[derive(Args, Debug)]
pub(crate) struct ComposeArgs {
    #[command(flatten)]
    pub(crate) uplink: Uplink,
    /// Who it is from; failures are reported there
    #[arg(long, value_name = "PERSON", env = "RELAY_FROM")]
    pub(super) from: Option<People>,
    /// Who it is to; may be given several times
    #[arg(long, value_name = "PERSON")]
    pub(super) to: Vec<People>,
    /// Who gets a copy; may be given several times
    #[arg(long, value_name = "PERSON")]
    pub(super) cc: Vec<People>,
    /// Who gets a copy without the others knowing; may be given several times
    #[arg(long, value_name = "PERSON")]
    pub(super) bcc: Vec<People>,
    /// What it is about
    #[arg(long, value_name = "TEXT", value_parser = super::letter::subject)]
    pub(super) subject: Option<String>,
    /// How urgent it is
    #[arg(long, value_enum, default_value = "normal")]
    pub(super) priority: PriorityName,
    /// Send without asking whether to
    #[arg(long, short)]
    pub(super) yes: bool,
}
