//! The settings of `relay serve`, from three places.

mod files;
mod plan;
mod texts;

pub(crate) use files::{read_file, tls_of};
pub(crate) use plan::{KeyValueSettings, Plan};
pub(crate) use texts::{key, list, one};

use texts::keys;

use crate::{
    args::{api_key, is_shadowed},
    keys::KeyError,
    known_keys::KnownKeys,
    rules::{Network, Upstream},
};
use clap::{ArgMatches, Args, parser::ValueSource};
use ipnet::IpNet;
use relay_proto::{
    StreamAddress,
    mail::{
        relay::{Domain, RecipientPattern},
        wire::ApiKey,
    },
    pacing::Rate,
    smtp::{Access, HostName},
};
use relay_tokio::{CertificateDer, Origin, Origins, TlsAcceptor};
use relay_transport::tls::TlsError;
use serde::Deserialize;
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
};
use tracing_subscriber::EnvFilter;

/// Where a relay listens unless told otherwise: on this machine only.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8025);

/// The largest message a relay takes unless told otherwise: 64 MiB, more than any large mail provider takes.
pub(crate) const MAX_MESSAGE_BYTES: u64 = 64 << 20;

/// What one place says: the command line with the environment, or a file.
#[derive(Args, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Layer {
    /// Accept clients here; port 0 lets the system choose one [default: 127.0.0.1:8025]
    #[arg(long, value_name = "ADDR", env = "RELAY_LISTEN")]
    #[serde(deserialize_with = "one")]
    listen: Option<SocketAddr>,
    /// A key that lets a client in; may be given several times. Better kept in a file: see --api-key-file
    #[arg(long, value_name = "KEY", env = "RELAY_API_KEY", hide_env_values = true, value_parser = api_key)]
    #[serde(deserialize_with = "keys")]
    api_key: Vec<ApiKey>,
    /// A file of API keys or their digests, one a line; empty lines and lines that start with # do not count
    #[arg(long, value_name = "FILE", env = "RELAY_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
    /// Keep messages here, one Maildir for each recipient: DIR/domain/local-part
    #[arg(long, value_name = "DIR", env = "RELAY_MAILBOX")]
    mailbox: Option<PathBuf>,
    /// Pass messages on to this mail server: smtp://HOST:PORT, smtp+starttls:// for STARTTLS or nothing,
    /// or smtps:// for TLS from the start
    #[arg(long, value_name = "URL", env = "RELAY_UPSTREAM")]
    #[serde(deserialize_with = "one")]
    upstream: Option<Upstream>,
    /// Log in to the mail server with this name and the password of --upstream-password-file
    #[arg(long, value_name = "NAME", env = "RELAY_UPSTREAM_USER")]
    upstream_user: Option<String>,
    /// A file whose first line is the password of --upstream-user
    #[arg(long, value_name = "FILE", env = "RELAY_UPSTREAM_PASSWORD_FILE")]
    upstream_password_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file, besides those the system trusts, when the mail server shows one
    #[arg(long, value_name = "FILE", env = "RELAY_UPSTREAM_CA")]
    upstream_ca: Option<PathBuf>,
    /// Keep no more connections to the mail server than this at a time, of which one API key leaves some to others [default: 500]
    #[arg(long, value_name = "N", env = "RELAY_UPSTREAM_CONNECTIONS")]
    upstream_connections: Option<NonZeroUsize>,
    /// Keep up to so many of them for the next message; 0: every client has its own [default: 16]
    #[arg(long, value_name = "N", env = "RELAY_UPSTREAM_IDLE")]
    upstream_idle: Option<usize>,
    /// Take no further messages for the moment while the relay holds this many bytes [default: 1073741824]
    #[arg(long, value_name = "N", env = "RELAY_MAX_HELD_BYTES")]
    max_held_bytes: Option<NonZeroUsize>,
    /// Let each API key have no more links than this at a time [default: a share that leaves some to others]
    #[arg(long, value_name = "N", env = "RELAY_KEY_LINKS")]
    key_links: Option<NonZeroUsize>,
    /// Let each API key have no more messages under way than this at a time [default: 4096]
    #[arg(long, value_name = "N", env = "RELAY_KEY_MESSAGES")]
    key_messages: Option<NonZeroUsize>,
    /// Take no more messages of each API key than this: 10/s, 600/min or 5/h, and 10/s:20 for up to 20 at once
    /// [default: as many as come]
    #[arg(long, value_name = "RATE", env = "RELAY_KEY_RATE")]
    #[serde(deserialize_with = "one")]
    key_rate: Option<Rate>,
    /// Keep in this file what became of messages, so that after a crash clients are told and nothing is sent twice
    #[arg(long, value_name = "FILE", env = "RELAY_LEDGER")]
    ledger: Option<PathBuf>,
    /// Speak the base dialect with every client, whatever it asks for
    #[arg(long, env = "RELAY_BASE_ONLY")]
    base_only: bool,
    /// Serve wss:// with this certificate chain (PEM, own certificate first)
    #[arg(long, value_name = "FILE", env = "RELAY_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "RELAY_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Let in only clients with a certificate that one in this PEM file vouches for; needs --tls-cert
    #[arg(long, value_name = "FILE", env = "RELAY_TLS_CLIENT_CA")]
    tls_client_ca: Option<PathBuf>,
    /// Take mail from senders of this domain only; may be given several times [default: any]
    #[arg(
        long,
        value_name = "DOMAIN",
        env = "RELAY_ALLOW_SENDER",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "list")]
    allow_sender: Vec<Domain>,
    /// Take mail from clients in this network only; may be given several times [default: any]
    #[arg(
        long,
        value_name = "CIDR",
        env = "RELAY_ALLOW_NET",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "list")]
    allow_net: Vec<Network>,
    /// Keep keys and values in this directory, and serve them to key-value clients at --kv-listen
    #[arg(long, value_name = "DIR", env = "RELAY_KV")]
    kv: Option<PathBuf>,
    /// Accept key-value clients here; port 0 lets the system choose one [default: 127.0.0.1:8026]
    #[arg(long, value_name = "ADDR", env = "RELAY_KV_LISTEN")]
    #[serde(deserialize_with = "one")]
    kv_listen: Option<SocketAddr>,
    /// Take no more key-value calls of each API key than this: 100/s, 600/min, or 100/s:200 for up to 200 at once
    /// [default: as many as come]
    #[arg(long, value_name = "RATE", env = "RELAY_KV_RATE")]
    #[serde(deserialize_with = "one")]
    kv_rate: Option<Rate>,
    /// Let web pages of this origin be clients, too; may be given several times [default: none]
    #[arg(
        long,
        value_name = "https://HOST[:PORT]",
        env = "RELAY_ALLOW_ORIGIN",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "list")]
    allow_origin: Vec<Origin>,
    /// Take mail for this address or domain only; may be given several times [default: any]
    #[arg(
        long,
        value_name = "ADDR-OR-DOMAIN",
        env = "RELAY_ALLOW_RCPT",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "list")]
    allow_rcpt: Vec<RecipientPattern>,
    /// Take no message with more bytes than this [default: 67108864]
    #[arg(long, value_name = "N", env = "RELAY_MAX_MESSAGE_BYTES")]
    max_message_bytes: Option<NonZeroU64>,
    /// The relay's name in SMTP; some mail servers want one that the DNS knows [default: localhost]
    #[arg(long, value_name = "NAME", env = "RELAY_HOST_NAME")]
    #[serde(deserialize_with = "one")]
    host_name: Option<HostName>,
    /// What to log: error, warn, info, debug, trace or a filter such as relay=debug [default: info]
    #[arg(long, value_name = "FILTER", env = "RELAY_LOG")]
    #[serde(deserialize_with = "one")]
    log: Option<LogFilter>,
}

impl Layer {
    /// Lets the command line win over the environment where two options are one setting, and takes a list of
    /// keys from the environment apart; a comma in a key given as an option is part of it.
    pub(crate) fn settle(&mut self, matches: &ArgMatches) {
        let shadowed = |option, other| is_shadowed(matches, option, other);
        if matches.value_source("api_key") == Some(ValueSource::EnvVariable) {
            let keys = self
                .api_key
                .iter()
                .flat_map(|list| list.expose().split(','));
            self.api_key = keys.map(|key| ApiKey::new(key.trim())).collect();
        }
        if shadowed("api_key", "api_key_file") {
            self.api_key.clear();
        }
        if shadowed("api_key_file", "api_key") {
            self.api_key_file = None;
        }
        if shadowed("mailbox", "upstream") {
            self.mailbox = None;
        }
        if shadowed("upstream", "mailbox") {
            self.upstream = None;
        }
    }

    /// Takes from `lower` what this place does not say.
    fn over(self, lower: Self) -> Self {
        let names_keys = !self.api_key.is_empty() || self.api_key_file.is_some();
        let (api_key, api_key_file) = if names_keys {
            (self.api_key, self.api_key_file)
        } else {
            (lower.api_key, lower.api_key_file)
        };
        let (mailbox, upstream) = match (self.mailbox, self.upstream) {
            (None, None) => (lower.mailbox, lower.upstream),
            destination => destination,
        };
        let (upstream_user, upstream_password_file) =
            match (self.upstream_user, self.upstream_password_file) {
                (None, None) => (lower.upstream_user, lower.upstream_password_file),
                login => login,
            };
        let (tls_cert, tls_key) = match (self.tls_cert, self.tls_key) {
            (None, None) => (lower.tls_cert, lower.tls_key),
            tls => tls,
        };
        Self {
            listen: self.listen.or(lower.listen),
            api_key,
            api_key_file,
            mailbox,
            upstream,
            upstream_user,
            upstream_password_file,
            upstream_ca: self.upstream_ca.or(lower.upstream_ca),
            upstream_connections: self.upstream_connections.or(lower.upstream_connections),
            upstream_idle: self.upstream_idle.or(lower.upstream_idle),
            max_held_bytes: self.max_held_bytes.or(lower.max_held_bytes),
            key_links: self.key_links.or(lower.key_links),
            key_messages: self.key_messages.or(lower.key_messages),
            key_rate: self.key_rate.or(lower.key_rate),
            ledger: self.ledger.or(lower.ledger),
            base_only: self.base_only || lower.base_only,
            kv: self.kv.or(lower.kv),
            kv_listen: self.kv_listen.or(lower.kv_listen),
            kv_rate: self.kv_rate.or(lower.kv_rate),
            tls_cert,
            tls_key,
            tls_client_ca: self.tls_client_ca.or(lower.tls_client_ca),
            allow_sender: or(self.allow_sender, lower.allow_sender),
            allow_net: or(self.allow_net, lower.allow_net),
            allow_origin: or(self.allow_origin, lower.allow_origin),
            allow_rcpt: or(self.allow_rcpt, lower.allow_rcpt),
            max_message_bytes: self.max_message_bytes.or(lower.max_message_bytes),
            host_name: self.host_name.or(lower.host_name),
            log: self.log.or(lower.log),
        }
    }
}

pub(crate) fn or<T>(upper: Vec<T>, lower: Vec<T>) -> Vec<T> {
    if upper.is_empty() { lower } else { upper }
}

/// Where accepted messages go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Into Maildirs under this directory.
    Mailbox(PathBuf),
    /// To this mail server, with what it wants to see.
    Upstream(StreamAddress, Access),
}

/// Everything a relay for mail needs, checked.
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    /// One at least.
    pub(crate) api_keys: Arc<KnownKeys>,
    pub(crate) destination: Destination,
    /// Trusted besides the system's.
    pub(crate) upstream_roots: Vec<CertificateDer<'static>>,
    /// `None`: the relay's default.
    pub(crate) upstream_connections: Option<usize>,
    /// `None`: the relay's default.
    pub(crate) upstream_idle: Option<usize>,
    /// `None`: the relay's default.
    pub(crate) max_held_bytes: Option<usize>,
    /// `None`: the relay's default.
    pub(crate) key_links: Option<usize>,
    /// `None`: the relay's default.
    pub(crate) key_messages: Option<usize>,
    /// `None`: as many as come.
    pub(crate) key_rate: Option<Rate>,
    /// `None`: in memory.
    pub(crate) ledger: Option<PathBuf>,
    pub(crate) base_only: bool,
    pub(crate) tls: Option<TlsAcceptor>,
    /// Empty: any.
    pub(crate) allow_sender: Vec<Domain>,
    /// Empty: any.
    pub(crate) allow_net: Vec<IpNet>,
    pub(crate) origins: Origins,
    /// Empty: any.
    pub(crate) allow_rcpt: Vec<RecipientPattern>,
    pub(crate) max_message_bytes: u64,
    pub(crate) host_name: HostName,
}

impl Settings {
    /// Those of a relay that a command starts for itself: on a free port of this machine, for whoever has this key.
    ///
    /// # Errors
    ///
    /// Where the key is none.
    pub(crate) fn private(key: &ApiKey, destination: Destination) -> Result<Self, KeyError> {
        Ok(Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            api_keys: Arc::new(KnownKeys::new(std::slice::from_ref(key), None)?),
            destination,
            upstream_roots: Vec::new(),
            upstream_connections: None,
            upstream_idle: None,
            max_held_bytes: None,
            key_links: None,
            key_messages: None,
            key_rate: None,
            ledger: None,
            base_only: false,
            tls: None,
            allow_sender: Vec::new(),
            allow_net: Vec::new(),
            origins: Origins::default(),
            allow_rcpt: Vec::new(),
            max_message_bytes: MAX_MESSAGE_BYTES,
            host_name: local_host(),
        })
    }
}

/// The name of a host that does not say who it is.
pub(crate) fn local_host() -> HostName {
    "localhost".parse().expect("localhost is a domain")
}

/// Why a relay cannot start with these settings: one line that names what to fix.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("no API key: give --api-key, --api-key-file or RELAY_API_KEY")]
    NoKey,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(
        "nothing to serve: give --mailbox DIR or --upstream smtp://HOST:PORT for mail, or --kv DIR for keys and values"
    )]
    NothingToServe,
    #[error("{option} without --kv: there are no keys and values to serve")]
    NoKeyValue { option: &'static str },
    #[error("--mailbox and --upstream exclude each other: give one of them")]
    TwoDestinations,
    #[error("--upstream-user and --upstream-password-file: give both or neither")]
    HalfLogin,
    #[error("--upstream-user and the first line of {path} must not be empty")]
    EmptyLogin { path: String },
    #[error(
        "the password of --upstream-user could be read on the way to {upstream}: \
         use smtp+starttls:// or smtps://"
    )]
    ClearLogin { upstream: String },
    #[error("the certificates in {path}: {error}")]
    Certificates { path: String, error: TlsError },
    #[error("--tls-cert without --tls-key: give both or neither")]
    NoTlsKey,
    #[error("--tls-key without --tls-cert: give both or neither")]
    NoTlsCertificate,
    #[error("--tls-client-ca without --tls-cert and --tls-key: only TLS clients have certificates")]
    NoTls,
    #[error("cannot read {what} {path}: {error}")]
    Unreadable {
        what: &'static str,
        path: String,
        error: io::Error,
    },
    #[error("{place}: {problem}")]
    File { place: String, problem: String },
    #[error("--tls-cert {certificate}, --tls-key {key}: {error}")]
    Tls {
        certificate: String,
        key: String,
        error: TlsError,
    },
    #[error("--tls-client-ca {roots}: {error}")]
    ClientRoots { roots: String, error: TlsError },
}

/// A filter for log lines that was checked and is compiled when it is used.
#[derive(Clone, Debug)]
pub(crate) struct LogFilter(String);

impl LogFilter {
    pub(crate) fn filter(self) -> EnvFilter {
        EnvFilter::new(self.0)
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = tracing_subscriber::filter::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        EnvFilter::builder().parse(text)?;
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests;
