//! What the mail servers are told to be.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    time::Duration,
};

/// The number `.ci/setup` has given to the first user of each root directory.
const FIRST_USER: u32 = 60100;

/// A mail server in one of its configurations.
#[derive(Debug)]
pub(crate) struct Flavour {
    pub(super) program: Program,
    /// What it offers, of the extensions that make a difference to a relay.
    pub(crate) offers: &'static [&'static str],
    /// Whether it takes something else but CR LF `.` CR LF for the end of data.
    pub(crate) is_lenient: bool,
    /// In the words of its configuration.
    pub(super) settings: &'static str,
}

impl Flavour {
    pub(crate) fn offers(&self, extension: &str) -> bool {
        self.offers.contains(&extension)
    }

    /// Writes its configuration, to listen on this port.
    pub(super) fn configure(&self, root: &Path, port: u16) {
        let settings = self.settings;
        let files = match self.program {
            Program::Aiosmtpd { .. } => return,
            Program::Postfix => {
                create_queues(root);
                vec![
                    ("etc/postfix/main.cf", format!("{POSTFIX_MAIN}{settings}\n")),
                    (
                        "etc/postfix/master.cf",
                        format!("127.0.0.1:{port} inet n - n - - smtpd\n{POSTFIX_MASTER}"),
                    ),
                    ("etc/postfix/grey", POSTFIX_GREY.to_owned()),
                ]
            }
            Program::Exim => {
                // It delivers as the user it runs as, so that no program needs to become another.
                chown(root.join("var/mail"), Some(FIRST_USER), None).unwrap();
                vec![
                    (
                        "etc/exim4/exim4.conf",
                        format!("daemon_smtp_ports = {port}\n{settings}\n{EXIM_SETTINGS}"),
                    ),
                    (
                        "etc/people",
                        "bob: bob\ndave: dave\ngrey: grey\nδοκιμή: δοκιμή\n".to_owned(),
                    ),
                ]
            }
            Program::OpenSmtpd => vec![
                (
                    "etc/smtpd.conf",
                    format!(
                        "{OPENSMTPD_SETTINGS}listen on 127.0.0.1 port {port} filter grey\n{settings}\n"
                    ),
                ),
                ("etc/grey", OPENSMTPD_GREY.to_owned()),
            ],
        };
        for (path, text) in files {
            let path = root.join(path);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            // What has changed in the last seconds may be half written, so Postfix waits for it to become old.
            let file = fs::File::options().append(true).open(path).unwrap();
            let written = file.metadata().unwrap().modified().unwrap();
            file.set_modified(written - Duration::from_secs(60))
                .unwrap();
        }
    }
}

#[derive(Debug)]
pub(super) enum Program {
    Aiosmtpd { is_old: bool },
    Postfix,
    Exim,
    OpenSmtpd,
}

impl Program {
    /// The root directory it runs in, among those that `.ci/setup` has made.
    pub(super) fn root(&self) -> Option<&'static str> {
        match self {
            Self::Aiosmtpd { .. } => None,
            Self::Postfix => Some("postfix"),
            Self::Exim => Some("exim"),
            Self::OpenSmtpd => Some("opensmtpd"),
        }
    }

    pub(super) fn has_root(&self) -> bool {
        self.root().is_some()
    }

    /// What is run in that directory.
    pub(super) fn command(&self) -> &'static [&'static str] {
        match self {
            Self::Aiosmtpd { .. } => &[],
            Self::Postfix => &["/usr/lib/postfix/sbin/master", "-d"],
            Self::Exim => &["/usr/sbin/exim4", "-bdf", "-q1s"],
            Self::OpenSmtpd => &["/usr/sbin/smtpd", "-d"],
        }
    }

    /// Where messages are that it has accepted and not yet delivered, in the order they go through these.
    pub(super) fn queues(&self) -> &'static [&'static str] {
        match self {
            Self::Aiosmtpd { .. } => &[],
            Self::Postfix => &[
                "var/spool/postfix/maildrop",
                "var/spool/postfix/incoming",
                "var/spool/postfix/active",
                "var/spool/postfix/deferred",
            ],
            Self::Exim => &["var/spool/exim4/input"],
            Self::OpenSmtpd => &["var/spool/smtpd/queue"],
        }
    }

    /// Whether this file in its queue is a message that was accepted: what was begun and never ended may lie there, too.
    pub(super) fn is_accepted(&self, file: &Path) -> bool {
        match self {
            Self::Exim => file.to_string_lossy().ends_with("-H"),
            Self::Postfix => {
                let is_whole = |file: fs::Metadata| file.permissions().mode() & 0o100 != 0;
                fs::metadata(file).is_ok_and(is_whole)
            }
            Self::Aiosmtpd { .. } | Self::OpenSmtpd => true,
        }
    }

    /// What it says elsewhere than on its standard streams.
    pub(super) fn log(&self) -> Option<&'static str> {
        match self {
            Self::Postfix => Some("var/log/postfix.log"),
            Self::Exim => Some("var/log/exim4/mainlog"),
            Self::Aiosmtpd { .. } | Self::OpenSmtpd => None,
        }
    }
}

const ALL: &[&str] = &["PIPELINING", "CHUNKING", "8BITMIME", "SMTPUTF8"];

pub(crate) const AIOSMTPD: Flavour = Flavour {
    program: Program::Aiosmtpd { is_old: false },
    offers: &["8BITMIME"],
    is_lenient: false,
    settings: "--plain",
};

/// 1.4.4, before it was told of smuggling, and generous with lines.
pub(crate) const AIOSMTPD_LENIENT: Flavour = Flavour {
    program: Program::Aiosmtpd { is_old: true },
    offers: &["8BITMIME", "SMTPUTF8"],
    is_lenient: true,
    settings: "",
};

/// By DATA, since there is nothing to take wrongly in chunks.
pub(crate) const POSTFIX_STRICT: Flavour = Flavour {
    program: Program::Postfix,
    offers: &["PIPELINING", "8BITMIME", "SMTPUTF8"],
    is_lenient: false,
    settings: "smtpd_forbid_bare_newline = yes\n\
               smtpd_forbid_bare_newline_exclusions =\n\
               smtpd_forbid_unauth_pipelining = yes\n\
               smtpd_discard_ehlo_keywords = chunking",
};

/// As it was for twenty years.
pub(crate) const POSTFIX_LENIENT: Flavour = Flavour {
    program: Program::Postfix,
    offers: &["PIPELINING", "8BITMIME"],
    is_lenient: true,
    settings: "smtpd_forbid_bare_newline = no\n\
               smtputf8_enable = no\n\
               smtpd_discard_ehlo_keywords = chunking",
};

pub(crate) const POSTFIX_CHUNKING: Flavour = Flavour {
    program: Program::Postfix,
    offers: ALL,
    is_lenient: true,
    settings: "smtpd_forbid_bare_newline = no",
};

/// As old servers are: no extension but SIZE.
pub(crate) const EXIM_PLAIN: Flavour = Flavour {
    program: Program::Exim,
    offers: &[],
    is_lenient: false,
    settings: "accept_8bitmime = false\n\
               chunking_advertise_hosts =\n\
               pipelining_advertise_hosts =\n\
               pipelining_connect_advertise_hosts =",
};

pub(crate) const EXIM_PIPELINING: Flavour = Flavour {
    program: Program::Exim,
    offers: &["PIPELINING", "8BITMIME", "SMTPUTF8"],
    is_lenient: false,
    settings: "chunking_advertise_hosts =\n\
               smtputf8_advertise_hosts = *",
};

pub(crate) const EXIM_CHUNKING: Flavour = Flavour {
    program: Program::Exim,
    offers: ALL,
    is_lenient: false,
    settings: "smtputf8_advertise_hosts = *",
};

/// There is nothing to set in it that makes a difference.
pub(crate) const OPENSMTPD: Flavour = Flavour {
    program: Program::OpenSmtpd,
    offers: &["8BITMIME"],
    is_lenient: true,
    settings: "",
};

const POSTFIX_MAIN: &str = "\
compatibility_level = 3.6
myhostname = mx.example
maillog_file = /var/log/postfix.log
inet_protocols = ipv4
mydestination =
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = example.net
virtual_mailbox_base = /var/mail
virtual_mailbox_maps = inline:{bob@example.net=bob/, dave@example.net=dave/, grey@example.net=grey/, δοκιμή@example.net=δοκιμή/}
virtual_uid_maps = static:60110
virtual_gid_maps = static:60110
virtual_mailbox_limit = 0
message_size_limit = 64000000
smtpd_relay_restrictions =
smtpd_recipient_restrictions = reject_unauth_destination, reject_unlisted_recipient, check_policy_service unix:private/grey
";

const POSTFIX_MASTER: &str = "\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
grey unix - n n - 0 spawn user=mail argv=/bin/sh /etc/postfix/grey
";

const POSTFIX_GREY: &str = r#"
is_grey=
while read -r line; do
    case $line in
    recipient=grey@*) is_grey=yes ;;
    '')
        if [ "$is_grey" ] && (set -C; : >/var/mail/grey-was-here) 2>/dev/null; then
            echo 'action=451 4.7.1 come again'
        else
            echo 'action=dunno'
        fi
        echo
        is_grey=
        ;;
    esac
done
"#;

/// The queue's directories, as its own scripts make them.
fn create_queues(root: &Path) {
    const POSTFIX: u32 = FIRST_USER;
    const POSTDROP: u32 = FIRST_USER + 1;
    let own = [
        "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private",
        "saved", "trace",
    ];
    let own = own.map(|name| (name, POSTFIX, 0, 0o700));
    let shared = [
        ("public", POSTFIX, POSTDROP, 0o710),
        ("maildrop", POSTFIX, POSTDROP, 0o1730),
        ("pid", 0, 0, 0o755),
    ];
    for (name, user, group, mode) in own.into_iter().chain(shared) {
        let path = root.join("var/spool/postfix").join(name);
        fs::create_dir_all(&path).unwrap();
        chown(&path, Some(user), Some(group)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Without the certificate it would make itself one, and with it a key, each time it starts.
const EXIM_SETTINGS: &str = "\
primary_hostname = mx.example
local_interfaces = 127.0.0.1
log_file_path = /var/log/exim4/%slog
keep_environment =
host_lookup =
rfc1413_hosts =
tls_advertise_hosts =
tls_certificate = ${if eq{}{}{none}}
notifier_socket =
smtp_accept_queue_per_connection = 0
deliver_drop_privilege = true
smtp_accept_max = 0
message_size_limit = 64M
acl_smtp_rcpt = recipient
acl_smtp_data = accept
begin acl
recipient:
  defer
    local_parts = grey
    !condition = ${if exists{/var/spool/exim4/grey-was-here}}
    condition = ${run{/bin/sh -c ': >/var/spool/exim4/grey-was-here'}{yes}{no}}
    message = 4.7.1 come again
  accept
    domains = example.net
    local_parts = lsearch;/etc/people
  deny
    message = 5.1.1 nobody of that name here
begin routers
keep:
  driver = accept
  domains = example.net
  local_parts = lsearch;/etc/people
  transport = keep
begin transports
keep:
  driver = appendfile
  maildir_format
  directory = /var/mail/$local_part_data
  user = Debian-exim
begin retry
* * F,1h,1s
";

const OPENSMTPD_SETTINGS: &str = "\
proc grey \"/bin/sh /etc/grey\" user mail
filter grey proc grey
table people { \"bob@example.net\" = \"mail\", \"dave@example.net\" = \"mail\", \"grey@example.net\" = \"mail\" }
action keep maildir \"/var/mail/%{rcpt.user}\" virtual <people>
match from any for domain \"example.net\" action keep
";

const OPENSMTPD_GREY: &str = r#"
IFS='|'
while read -r kind version time system phase session token address; do
    case $kind/$version in
    config/ready)
        echo 'register|filter|smtp-in|rcpt-to'
        echo 'register|ready'
        ;;
    filter/*)
        case $address in
        grey@*)
            if (set -C; : >/var/mail/grey-was-here) 2>/dev/null; then
                echo "filter-result|$session|$token|reject|451 4.7.1 come again"
                continue
            fi
            ;;
        esac
        echo "filter-result|$session|$token|proceed"
        ;;
    esac
done
"#;
