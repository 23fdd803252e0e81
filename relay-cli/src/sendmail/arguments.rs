//! Sendmail's command line.

use super::exit;
use crate::{args::Cli, failure::Failure};
use clap::{Args, CommandFactory};
use lexopt::Arg::{Long, Short, Value};
use std::{ffi::OsString, path::PathBuf};

pub(crate) const NOTES: &str = "\
Flags:
  -t            take recipients from To, Cc and Bcc, besides those that are named
  -i, -oi       a line with nothing but a dot does not end the message
  -f ADDRESS    the sender, to whom failures are reported; \"<>\" for nobody (also -r)
  -F NAME       the sender's name, for a From that is added
  -bs           speak SMTP on standard input and output
  -bm           read one message from standard input (what it does anyway)
  -bp, -q       nothing is ever queued: say so, and do nothing
  -v            say what the server replied
  --config FILE
                settings, instead of the places below (also -C)
  --help        this
  -o, -O, -B, -N, -R, -V, -h, -e, -m, -n, -G, -U, -L, -X, -p, -d, -A
                with sendmail's values: accepted, and without effect

The message:
  Lines may end in LF or CRLF. Date, Message-ID and From are added where they are missing, Bcc is taken out.
  Addresses without a domain get one; in the header they stay as they are.

Settings:
  From the environment (RELAY_URL, RELAY_API_KEY or RELAY_API_KEY_FILE, RELAY_CA, RELAY_PROXY, RELAY_HEADER,
  RELAY_CLIENT_CERTIFICATE and RELAY_CLIENT_KEY, RELAY_MAIL_DOMAIN), and what that does not have from the first of
  these files that exists:

      ~/.config/relay/sendmail.toml
      /etc/relay/sendmail.toml

      url = \"wss://relay.example/\"
      api-key-file = \"/etc/relay/key\"     # or api-key = \"...\"
      ca = \"/etc/relay/ca.pem\"            # certificates to trust besides the system's
      proxy = \"http://proxy.example:3128\" # or \"none\"; otherwise what https_proxy and no_proxy say
      client-certificate = \"/etc/relay/client.pem\"   # shown to the relay, with its private key
      client-key = \"/etc/relay/client.key\"
      header = [\"X-Tenant: example.org\"]   # added to the WebSocket upgrade
      domain = \"example.org\"              # of addresses without one; otherwise /etc/mailname, the host's name
      sender = \"web@example.org\"          # without -f; otherwise LOGNAME at the domain, or From
      attempts = 3                        # to connect

  Programs that call `sendmail` by a path can be given a link of that name to this program.

Exit codes (sysexits.h):
   0  accepted for every recipient; or for some, and the sender gets a report of the others
  64  the command line is wrong
  65  the message is wrong: it names no recipient, or one that is no address
  66  the message cannot be read
  69  refused; or sent, and the reply got lost, so that it may have been delivered or not
  74  who called has gone
  75  not sent, and the same may work later: nothing is queued, so try again
  77  the relay refused the API key
  78  the settings are wrong or missing";

/// What `relay sendmail` is given; read by [`Arguments::parse`].
#[derive(Args, Debug)]
pub(crate) struct RawArgs {
    /// Flags as sendmail has them, and recipients
    #[arg(
        value_name = "FLAG|RECIPIENT",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub(crate) arguments: Vec<OsString>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Message,
    Session,
    Queue,
    Help,
    Version,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) mode: Mode,
    pub(super) sender: Option<String>,
    pub(super) full_name: Option<String>,
    pub(super) recipients_in_header: bool,
    pub(super) dots_are_content: bool,
    pub(super) verbose: bool,
    pub(super) config: Option<PathBuf>,
    pub(super) recipients: Vec<String>,
}

impl Arguments {
    pub(super) fn parse(arguments: &[OsString]) -> Result<Self, Failure> {
        Self::read(arguments).map_err(exit::usage)
    }

    fn read(arguments: &[OsString]) -> Result<Self, lexopt::Error> {
        let mut read = Self {
            mode: Mode::Message,
            sender: None,
            full_name: None,
            recipients_in_header: false,
            dots_are_content: false,
            verbose: false,
            config: None,
            recipients: Vec::new(),
        };
        let mut parser = lexopt::Parser::from_args(arguments);
        // "-f=x" is a sender that begins with an equals sign.
        parser.set_short_equals(false);
        while let Some(argument) = parser.next()? {
            match argument {
                Short('t') => read.recipients_in_header = true,
                Short('i') => read.dots_are_content = true,
                Short('f' | 'r') => read.sender = Some(text(parser.value()?)?),
                Short('F') => read.full_name = Some(text(parser.value()?)?),
                Short('v') => read.verbose = true,
                Short('C') | Long("config") => read.config = Some(parser.value()?.into()),
                Short('b') => read.mode = mode(&text(parser.value()?)?)?,
                Short('q') => {
                    parser.optional_value();
                    read.mode = Mode::Queue;
                }
                Short('o') => {
                    if parser.value()? == "i" {
                        read.dots_are_content = true;
                    }
                }
                Short('O' | 'B' | 'N' | 'R' | 'V' | 'h' | 'L' | 'X' | 'p') => {
                    parser.value()?;
                }
                Short('e' | 'd' | 'A') => {
                    parser.optional_value();
                }
                Short('m' | 'n' | 'G' | 'U') => {}
                Long("help") => read.mode = Mode::Help,
                Long("version") => read.mode = Mode::Version,
                Value(recipient) => read.recipients.push(text(recipient)?),
                other => return Err(other.unexpected()),
            }
        }
        Ok(read)
    }
}

fn text(value: OsString) -> Result<String, lexopt::Error> {
    value.into_string().map_err(lexopt::Error::NonUnicodeValue)
}

fn mode(letter: &str) -> Result<Mode, lexopt::Error> {
    match letter {
        "m" => Ok(Mode::Message),
        "s" => Ok(Mode::Session),
        "p" => Ok(Mode::Queue),
        "d" | "D" => Err("-bd: there is `relay bridge` for that".into()),
        _ => Err(format!("-b{letter} is not supported; -bm, -bs and -bp are").into()),
    }
}

/// What `relay help sendmail` says.
pub(super) fn help() -> String {
    let mut command = Cli::command();
    let sendmail = command
        .find_subcommand_mut("sendmail")
        .expect("there is this subcommand");
    sendmail.render_long_help().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments, Failure> {
        let arguments: Vec<_> = line.iter().map(OsString::from).collect();
        Arguments::parse(&arguments)
    }

    #[test]
    fn callers_are_understood() {
        let cron = [
            "-FCronDaemon",
            "-i",
            "-odi",
            "-oem",
            "-oi",
            "-t",
            "-f",
            "root",
        ];
        let read = parse(&cron).unwrap();
        assert_eq!(read.full_name.as_deref(), Some("CronDaemon"));
        assert_eq!(read.sender.as_deref(), Some("root"));
        assert!(read.recipients_in_header && read.dots_are_content);
        assert!(read.recipients.is_empty());

        let git = [
            "-f",
            "a@example.org",
            "-i",
            "b@example.net",
            "c@example.net",
        ];
        let read = parse(&git).unwrap();
        assert_eq!(read.recipients, ["b@example.net", "c@example.net"]);
        assert!(!read.recipients_in_header);

        let mutt = ["-oem", "-oi", "-fa@example.org", "--", "-b@example.net"];
        let read = parse(&mutt).unwrap();
        assert_eq!(read.sender.as_deref(), Some("a@example.org"));
        assert_eq!(read.recipients, ["-b@example.net"]);

        assert_eq!(parse(&["-bs"]).unwrap().mode, Mode::Session);
        assert_eq!(parse(&["-q30m"]).unwrap().mode, Mode::Queue);
        assert!(parse(&["-ti"]).unwrap().recipients_in_header);
        assert_eq!(parse(&["-f", ""]).unwrap().sender.as_deref(), Some(""));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (line, part) in [
            (&["-Z"][..], "-Z"),
            (&["-bd"], "relay bridge"),
            (&["-bi"], "-bi"),
            (&["-f"], "-f"),
            (&["--from"], "--from"),
        ] {
            let failure = parse(line).unwrap_err();
            assert!(failure.to_string().contains(part), "{failure}");
            assert_eq!(failure.code(), std::process::ExitCode::from(64));
        }
    }
}
