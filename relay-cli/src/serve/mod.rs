//! `relay serve`: runs a relay until it is told to stop.

pub(crate) mod log;
mod service;

pub(crate) use service::Service;

use crate::{
    args::ServeArgs,
    config::Settings,
    failure::Failure,
    signals::{Hangup, Signals},
};
use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};
use tokio::select;

/// How long clients may take to finish after the first request to stop: less than the 30 s after which
/// service managers commonly kill.
const PATIENCE: Duration = Duration::from_secs(25);

/// Runs a relay until it is told to stop.
///
/// # Errors
///
/// Where it cannot start with these settings, or ends without having been told to.
pub(crate) async fn serve(arguments: ServeArgs) -> Result<ExitCode, Failure> {
    let settings =
        Settings::gather(arguments.layer, arguments.config.as_deref()).map_err(Failure::usage)?;
    log::start(settings.log.clone());
    let mut signals = Signals::new().map_err(Failure::running)?;
    let mut hangup = Hangup::new().map_err(Failure::running)?;
    let service = Service::start(settings).await?;
    warn_of_plain_text(&service);
    // Whoever started this may have stopped reading; that is no reason to end.
    let _ = writeln!(io::stdout(), "listening on {}", service.url());
    loop {
        select! {
            () = service.finished() => return Err(Failure::running("the relay has ended by itself")),
            () = hangup.next() => service.reload_keys().await,
            name = signals.next() => {
                tracing::info!("{name}: finishing what clients have begun");
                break;
            }
        }
    }
    select! {
        () = service.drain(PATIENCE) => {}
        name = signals.next() => {
            tracing::warn!("{name} again: stopping at once");
            service.stop().await;
        }
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn warn_of_plain_text(service: &Service) {
    if !service.is_tls() && !service.address().ip().is_loopback() {
        tracing::warn!(
            "listening on {} without TLS: keys and mail can be read on the way; \
             give --tls-cert and --tls-key, or put a TLS proxy in front",
            service.address()
        );
    }
}
