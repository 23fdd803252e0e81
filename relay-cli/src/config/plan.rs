//! What `relay serve` is to do.

use super::{
    ConfigError, Destination, LISTEN, Layer, MAX_MESSAGE_BYTES, Settings,
    files::{certificates, read, read_file, tls_of},
    local_host,
};
use crate::{known_keys::KnownKeys, rules::Upstream, way::is_this_machine};
use relay_proto::{
    pacing::Rate,
    smtp::{Access, Credentials},
};
use relay_tokio::{Origins, TlsAcceptor};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::{NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    sync::Arc,
};
use tracing_subscriber::EnvFilter;

/// Where key-value clients are accepted unless told otherwise: on this machine only.
const KEY_VALUE_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8026);

/// What is to be served: one thing at least.
pub(crate) struct Plan {
    pub(crate) api_keys: Arc<KnownKeys>,
    pub(crate) mail: Option<Settings>,
    pub(crate) key_value: Option<KeyValueSettings>,
    pub(crate) log: EnvFilter,
}

/// Everything a key-value service needs, checked.
pub(crate) struct KeyValueSettings {
    pub(crate) listen: SocketAddr,
    pub(crate) api_keys: Arc<KnownKeys>,
    pub(crate) directory: PathBuf,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) origins: Origins,
    /// `None`: as many as come.
    pub(crate) rate: Option<Rate>,
}

impl Plan {
    /// Joins what the command line with the environment and the file say, and reads the files they name.
    ///
    /// # Errors
    ///
    /// The first thing to fix.
    pub(crate) fn gather(layer: Layer, config: Option<&Path>) -> Result<Self, ConfigError> {
        let layer = match config {
            Some(path) => layer.over(read_file(path)?),
            None => layer,
        };
        let api_keys = KnownKeys::new(&layer.api_key, layer.api_key_file)?;
        if api_keys.is_empty() {
            return Err(ConfigError::NoKey);
        }
        let api_keys = Arc::new(api_keys);
        let tls = tls_of(
            layer.tls_cert.as_deref(),
            layer.tls_key.as_deref(),
            layer.tls_client_ca.as_deref(),
        )?;
        let origins = Origins::only(layer.allow_origin);

        let key_value = match layer.kv {
            Some(directory) => Some(KeyValueSettings {
                listen: layer.kv_listen.unwrap_or(KEY_VALUE_LISTEN),
                api_keys: Arc::clone(&api_keys),
                directory,
                tls: tls.clone(),
                origins: origins.clone(),
                rate: layer.kv_rate,
            }),
            None if layer.kv_listen.is_some() => {
                let option = "--kv-listen";
                return Err(ConfigError::NoKeyValue { option });
            }
            None if layer.kv_rate.is_some() => {
                let option = "--kv-rate";
                return Err(ConfigError::NoKeyValue { option });
            }
            None => None,
        };

        let destination = match (layer.mailbox, layer.upstream) {
            (Some(directory), None) => Some(Destination::Mailbox(directory)),
            (None, Some(upstream)) => {
                let credentials = upstream_login(
                    &upstream,
                    layer.upstream_user,
                    layer.upstream_password_file.as_deref(),
                )?;
                let start_tls = upstream.start_tls;
                let access = Access {
                    start_tls,
                    credentials,
                };
                Some(Destination::Upstream(upstream.address, access))
            }
            (Some(_), Some(_)) => return Err(ConfigError::TwoDestinations),
            (None, None) if key_value.is_none() => return Err(ConfigError::NothingToServe),
            (None, None) => None,
        };
        let upstream_roots = match layer.upstream_ca {
            Some(path) => certificates(&path)?,
            None => Vec::new(),
        };
        let mail = destination.map(|destination| Settings {
            listen: layer.listen.unwrap_or(LISTEN),
            api_keys: Arc::clone(&api_keys),
            destination,
            upstream_roots,
            upstream_connections: layer.upstream_connections.map(NonZeroUsize::get),
            upstream_idle: layer.upstream_idle,
            max_held_bytes: layer.max_held_bytes.map(NonZeroUsize::get),
            key_links: layer.key_links.map(NonZeroUsize::get),
            key_messages: layer.key_messages.map(NonZeroUsize::get),
            key_rate: layer.key_rate,
            ledger: layer.ledger,
            base_only: layer.base_only,
            tls,
            allow_sender: layer.allow_sender,
            allow_net: layer.allow_net.iter().map(|network| network.0).collect(),
            origins,
            allow_rcpt: layer.allow_rcpt,
            max_message_bytes: layer
                .max_message_bytes
                .map_or(MAX_MESSAGE_BYTES, NonZeroU64::get),
            host_name: layer.host_name.unwrap_or_else(local_host),
        });
        Ok(Self {
            api_keys,
            mail,
            key_value,
            log: layer.log.unwrap_or_default().filter(),
        })
    }
}

/// How the relay logs in to its upstream, if it does.
fn upstream_login(
    upstream: &Upstream,
    user: Option<String>,
    password_file: Option<&Path>,
) -> Result<Option<Credentials>, ConfigError> {
    let (user, path) = match (user, password_file) {
        (Some(user), Some(path)) => (user, path),
        (None, None) => return Ok(None),
        _ => return Err(ConfigError::HalfLogin),
    };
    let is_secure = upstream.start_tls || upstream.address.is_tls();
    if !is_secure && !is_this_machine(upstream.address.host()) {
        return Err(ConfigError::ClearLogin {
            upstream: upstream.address.to_string(),
        });
    }
    let text = read("the password", path)?;
    let text = String::from_utf8_lossy(&text);
    let password = text.lines().next().unwrap_or_default();
    if user.is_empty() || password.is_empty() {
        return Err(ConfigError::EmptyLogin {
            path: path.display().to_string(),
        });
    }
    Ok(Some(Credentials::new(user, password)))
}
