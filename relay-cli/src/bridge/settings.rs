//! The settings of `relay bridge`, from three places.

use super::users::Users;
use crate::{
    args::{api_key, is_shadowed},
    config::{LogFilter, MAX_MESSAGE_BYTES, key, list, local_host, one, or, read_file, tls_of},
    failure::Failure,
    key_choice::KeyChoice,
    keys::Secret,
    rules::Network,
    uplink::Uplink,
    way::Way,
};
use clap::{ArgMatches, Args};
use ipnet::IpNet;
use relay_proto::{
    WebSocketUrl,
    mail::wire::ApiKey,
    smtp::{Authentication, HostName, Security},
};
use relay_tokio::StreamTls;
use serde::Deserialize;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroU64},
    path::{Path, PathBuf},
};

/// Where a bridge listens unless told otherwise: on this machine only.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2525);

/// Four messages of the largest size.
const MAX_HELD_BYTES: u64 = 4 * MAX_MESSAGE_BYTES;

const ATTEMPTS: NonZeroU32 = NonZeroU32::new(3).expect("three is not zero");

/// What one place says: the command line with the environment, or a file.
#[derive(Args, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Layer {
    /// Take mail here; port 0 lets the system choose one [default: 127.0.0.1:2525]
    #[arg(long, value_name = "ADDR", env = "RELAY_LISTEN")]
    #[serde(deserialize_with = "one")]
    listen: Option<SocketAddr>,
    /// The relay's address: ws://HOST:PORT/ or wss://HOST:PORT/
    #[arg(long, value_name = "URL", env = "RELAY_URL")]
    #[serde(deserialize_with = "one")]
    url: Option<WebSocketUrl>,
    /// The API key; better given in the environment or a file, where other users do not see it
    #[arg(long, value_name = "KEY", env = "RELAY_API_KEY", hide_env_values = true, value_parser = api_key)]
    #[serde(deserialize_with = "key")]
    api_key: Option<ApiKey>,
    /// A file whose first line that is neither empty nor a # comment is the API key
    #[arg(long, value_name = "FILE", env = "RELAY_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
    /// Trust the certificates in this PEM file, besides those the system trusts
    #[arg(long, value_name = "FILE", env = "RELAY_CA")]
    ca: Option<PathBuf>,
    /// Show the relay the certificate in this PEM file, own certificate first; needs --client-key
    #[arg(long, value_name = "FILE", env = "RELAY_CLIENT_CERTIFICATE")]
    client_certificate: Option<PathBuf>,
    /// The private key of the client certificate (PEM, not encrypted)
    #[arg(long, value_name = "FILE", env = "RELAY_CLIENT_KEY")]
    client_key: Option<PathBuf>,
    /// Go through this HTTP proxy: http://HOST:PORT or https://, with USER:PASSWORD@ before the host where it wants
    /// to know who comes; none: through none [default: what https_proxy, http_proxy, all_proxy, no_proxy say]
    #[arg(long, value_name = "URL", env = "RELAY_PROXY", hide_env_values = true)]
    proxy: Option<Secret>,
    /// Add this to the WebSocket upgrade request, as in 'Name: value'; may be given several times
    #[arg(
        long,
        value_name = "HEADER",
        env = "RELAY_HEADER",
        hide_env_values = true,
        value_delimiter = '\n'
    )]
    header: Vec<Secret>,
    /// How often to try to connect before giving up [default: 3]
    #[arg(long, value_name = "N")]
    attempts: Option<NonZeroU32>,
    /// Take mail from whoever logs in with this name and the password of --password-file
    #[arg(long, value_name = "NAME", env = "RELAY_USER")]
    user: Option<String>,
    /// A file whose first line is the password of --user, or its hash
    #[arg(long, value_name = "FILE", env = "RELAY_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
    /// A file of users, NAME:PASSWORD or NAME:HASH a line; empty lines and lines that start with # do not count
    #[arg(long, value_name = "FILE", env = "RELAY_USERS_FILE")]
    users_file: Option<PathBuf>,
    /// Offer STARTTLS with this certificate chain (PEM, own certificate first)
    #[arg(long, value_name = "FILE", env = "RELAY_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "RELAY_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// Speak TLS from the first byte (smtps, RFC 8314) instead of offering STARTTLS
    #[arg(long, env = "RELAY_IMPLICIT_TLS")]
    implicit_tls: bool,
    /// Take passwords from other machines without TLS, where something else keeps them from being read
    #[arg(long, env = "RELAY_CLEAR_PASSWORDS")]
    clear_passwords: bool,
    /// Take mail from this network only; may be given several times [default: any]
    #[arg(
        long,
        value_name = "CIDR",
        env = "RELAY_ALLOW_NET",
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "list")]
    allow_net: Vec<Network>,
    /// Take no message with more bytes than this [default: 67108864]
    #[arg(long, value_name = "N", env = "RELAY_MAX_MESSAGE_BYTES")]
    max_message_bytes: Option<NonZeroU64>,
    /// Hold no more bytes than this in memory, of all messages together [default: 268435456]
    #[arg(long, value_name = "N", env = "RELAY_MAX_HELD_BYTES")]
    max_held_bytes: Option<NonZeroU64>,
    /// The bridge's name in SMTP, and what reports to senders come from [default: localhost]
    #[arg(long, value_name = "NAME", env = "RELAY_HOST_NAME")]
    #[serde(deserialize_with = "one")]
    host_name: Option<HostName>,
    /// What to log: error, warn, info, debug, trace or a filter such as relay=debug [default: info]
    #[arg(long, value_name = "FILTER", env = "RELAY_LOG")]
    #[serde(deserialize_with = "one")]
    log: Option<LogFilter>,
}

impl Layer {
    /// Lets the command line win over the environment where several options are one setting.
    pub(crate) fn settle(&mut self, matches: &ArgMatches) {
        let shadowed = |option, other| is_shadowed(matches, option, other);
        if shadowed("api_key", "api_key_file") {
            self.api_key = None;
        }
        if shadowed("api_key_file", "api_key") {
            self.api_key_file = None;
        }
        if shadowed("users_file", "user") {
            self.users_file = None;
        }
        if shadowed("user", "users_file") {
            self.user = None;
        }
        if shadowed("password_file", "users_file") {
            self.password_file = None;
        }
    }

    /// Takes from `lower` what this place does not say.
    fn over(self, lower: Self) -> Self {
        let (api_key, api_key_file) = match (self.api_key, self.api_key_file) {
            (None, None) => (lower.api_key, lower.api_key_file),
            key => key,
        };
        let (user, password_file, users_file) =
            match (self.user, self.password_file, self.users_file) {
                (None, None, None) => (lower.user, lower.password_file, lower.users_file),
                users => users,
            };
        let (client_certificate, client_key) = match (self.client_certificate, self.client_key) {
            (None, None) => (lower.client_certificate, lower.client_key),
            client => client,
        };
        let (tls_cert, tls_key) = match (self.tls_cert, self.tls_key) {
            (None, None) => (lower.tls_cert, lower.tls_key),
            tls => tls,
        };
        Self {
            listen: self.listen.or(lower.listen),
            url: self.url.or(lower.url),
            api_key,
            api_key_file,
            ca: self.ca.or(lower.ca),
            client_certificate,
            client_key,
            proxy: self.proxy.or(lower.proxy),
            header: or(self.header, lower.header),
            attempts: self.attempts.or(lower.attempts),
            user,
            password_file,
            users_file,
            tls_cert,
            tls_key,
            implicit_tls: self.implicit_tls || lower.implicit_tls,
            clear_passwords: self.clear_passwords || lower.clear_passwords,
            allow_net: or(self.allow_net, lower.allow_net),
            max_message_bytes: self.max_message_bytes.or(lower.max_message_bytes),
            max_held_bytes: self.max_held_bytes.or(lower.max_held_bytes),
            host_name: self.host_name.or(lower.host_name),
            log: self.log.or(lower.log),
        }
    }
}

/// Everything `relay bridge` needs, checked.
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) uplink: Uplink,
    /// Where there are some, who none of them is sends nothing.
    pub(super) users: Option<Users>,
    pub(super) tls: StreamTls,
    pub(super) clear_passwords: bool,
    /// Empty: any.
    pub(super) allow_net: Vec<IpNet>,
    pub(super) max_message_bytes: u64,
    pub(super) max_held_bytes: u64,
    pub(super) host_name: HostName,
    pub(super) log: LogFilter,
}

impl Settings {
    /// Joins what the command line with the environment and the file say, and reads the files they name.
    ///
    /// # Errors
    ///
    /// The first thing to fix.
    pub(super) fn gather(layer: Layer, config: Option<&Path>) -> Result<Self, Failure> {
        let layer = match config {
            Some(path) => layer.over(read_file(path).map_err(Failure::usage)?),
            None => layer,
        };
        let url = layer.url.ok_or_else(|| {
            Failure::usage(
                "no relay: give --url ws://HOST:PORT/, --url wss://HOST:PORT/ or RELAY_URL",
            )
        })?;
        let users = Users::gather(
            layer.user,
            layer.password_file.as_deref(),
            layer.users_file.as_deref(),
        )?;
        let tls = tls_of(layer.tls_cert.as_deref(), layer.tls_key.as_deref(), None);
        let tls = match tls.map_err(Failure::usage)? {
            None if layer.implicit_tls => {
                return Err(Failure::usage(
                    "--implicit-tls without a certificate: give --tls-cert and --tls-key",
                ));
            }
            None => StreamTls::None,
            Some(tls) if layer.implicit_tls => StreamTls::Implicit(tls),
            Some(tls) => StreamTls::OnRequest(tls),
        };
        let max_message_bytes = layer
            .max_message_bytes
            .map_or(MAX_MESSAGE_BYTES, NonZeroU64::get);
        let settings = Self {
            listen: layer.listen.unwrap_or(LISTEN),
            uplink: Uplink {
                url,
                key: KeyChoice {
                    api_key: layer.api_key,
                    api_key_file: layer.api_key_file,
                },
                way: Way {
                    ca: layer.ca,
                    client_certificate: layer.client_certificate,
                    client_key: layer.client_key,
                    proxy: layer.proxy,
                    header: layer.header,
                },
                attempts: layer.attempts.unwrap_or(ATTEMPTS),
            },
            users,
            tls,
            clear_passwords: layer.clear_passwords,
            allow_net: layer.allow_net.iter().map(|network| network.0).collect(),
            max_message_bytes,
            max_held_bytes: match layer.max_held_bytes {
                Some(bytes) => bytes.get(),
                None => MAX_HELD_BYTES.max(max_message_bytes),
            },
            host_name: layer.host_name.unwrap_or_else(local_host),
            log: layer.log.unwrap_or_default(),
        };
        settings.check()?;
        Ok(settings)
    }

    /// Finds what cannot be meant.
    fn check(&self) -> Result<(), Failure> {
        let is_open = !self.listen.ip().is_loopback();
        if is_open && self.users.is_none() && self.allow_net.is_empty() {
            return Err(Failure::usage(format_args!(
                "listening on {} would let anyone who can connect send mail in your name: \
                 give --user or --users-file for those who may, say with --allow-net from where, \
                 or listen on 127.0.0.1",
                self.listen
            )));
        }
        let is_clear = matches!(self.tls, StreamTls::None) && !self.clear_passwords;
        if is_open && self.users.is_some() && is_clear {
            return Err(Failure::usage(format_args!(
                "listening on {} without TLS, nobody from elsewhere can log in: passwords could be read on the way. \
                 Give --tls-cert and --tls-key, or --clear-passwords where something else protects them",
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

    /// Whether mail programs have to log in, and how.
    pub(super) fn authentication(&self) -> Option<Authentication> {
        self.users.as_ref().map(|_| Authentication {
            in_clear: self.clear_passwords,
            ..Authentication::required()
        })
    }

    /// What the server knows of the listener's TLS.
    pub(super) const fn security(&self) -> Security {
        match self.tls {
            StreamTls::None => Security::Clear,
            StreamTls::OnRequest(_) => Security::StartTls,
            StreamTls::Implicit(_) => Security::Tls,
        }
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
