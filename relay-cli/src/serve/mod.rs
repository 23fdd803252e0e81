//! `relay serve`: runs a relay, a key-value service or both until it is told to stop.

mod key_value;
pub(crate) mod log;
mod service;

pub(crate) use service::Service;

use crate::{
    args::ServeArgs,
    config::Plan,
    failure::Failure,
    known_keys::{KnownKeys, Reloaded},
    signals::{Hangup, Signals},
};
use key_value::KeyValue;
use std::{
    future,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::{join, select};

/// How long clients may take to finish after the first request to stop: less than the 30 s after which
/// service managers commonly kill.
const PATIENCE: Duration = Duration::from_secs(25);

/// Serves until it is told to stop.
///
/// # Errors
///
/// Where it cannot start with these settings, or ends without having been told to.
pub(crate) async fn serve(arguments: ServeArgs) -> Result<ExitCode, Failure> {
    let plan =
        Plan::gather(arguments.layer, arguments.config.as_deref()).map_err(Failure::usage)?;
    log::start(plan.log.clone());
    let mut signals = Signals::new().map_err(Failure::running)?;
    let mut hangup = Hangup::new().map_err(Failure::running)?;
    let served = Served::start(plan).await?;
    loop {
        select! {
            what = served.finished() => {
                return Err(Failure::running(format_args!("the {what} has ended by itself")));
            }
            () = hangup.next() => served.reload_keys().await,
            name = signals.next() => {
                tracing::info!("{name}: finishing what clients have begun");
                break;
            }
        }
    }
    select! {
        () = served.drain(PATIENCE) => {}
        name = signals.next() => {
            tracing::warn!("{name} again: stopping at once");
            served.stop().await;
        }
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// All that is served.
struct Served {
    keys: Arc<KnownKeys>,
    mail: Option<Service>,
    key_value: Option<KeyValue>,
}

impl Served {
    async fn start(plan: Plan) -> Result<Self, Failure> {
        let mail = match plan.mail {
            Some(settings) => Some(Service::start(settings).await?),
            None => None,
        };
        let key_value = match plan.key_value {
            Some(settings) => Some(KeyValue::start(settings).await?),
            None => None,
        };
        // Whoever started this may have stopped reading; that is no reason to end.
        if let Some(mail) = &mail {
            warn_of_plain_text(mail.address(), mail.is_tls());
            let _ = writeln!(io::stdout(), "listening on {}", mail.url());
        }
        if let Some(key_value) = &key_value {
            warn_of_plain_text(key_value.address(), key_value.is_tls());
            let _ = writeln!(io::stdout(), "keys and values on {}", key_value.url());
        }
        Ok(Self {
            keys: plan.api_keys,
            mail,
            key_value,
        })
    }

    /// Reads the key file again, and ends the links of those whose keys are no longer there.
    async fn reload_keys(&self) {
        match self.keys.reload() {
            Ok(Reloaded { keys, revoked }) => {
                tracing::info!(keys, taken_away = revoked.len(), "API keys read again");
                if let Some(mail) = &self.mail {
                    mail.revoke(revoked).await;
                }
                if let Some(key_value) = &self.key_value {
                    key_value.take_keys().await;
                }
            }
            Err(error) => tracing::error!("{error}; the API keys are those of before"),
        }
    }

    /// Takes nobody new, lets clients finish what they have begun for up to `patience`, and ends.
    async fn drain(&self, patience: Duration) {
        let mail = async {
            if let Some(mail) = &self.mail {
                mail.drain(patience).await;
            }
        };
        let key_value = async {
            if let Some(key_value) = &self.key_value {
                key_value.drain(patience).await;
            }
        };
        join!(mail, key_value);
    }

    /// Ends at once.
    async fn stop(&self) {
        if let Some(mail) = &self.mail {
            mail.stop().await;
        }
        if let Some(key_value) = &self.key_value {
            key_value.stop().await;
        }
    }

    /// Waits until one of them has ended, and says which.
    async fn finished(&self) -> &'static str {
        let mail = async {
            match &self.mail {
                Some(mail) => mail.finished().await,
                None => future::pending().await,
            }
        };
        let key_value = async {
            match &self.key_value {
                Some(key_value) => key_value.finished().await,
                None => future::pending().await,
            }
        };
        select! {
            () = mail => "relay",
            () = key_value => "key-value service",
        }
    }
}

fn warn_of_plain_text(address: SocketAddr, is_tls: bool) {
    if !is_tls && !address.ip().is_loopback() {
        tracing::warn!(
            "listening on {address} without TLS: keys and what is sent can be read on the way; \
             give --tls-cert and --tls-key, or put a TLS proxy in front"
        );
    }
}
