//! `relay bridge`: a mail server for programs on this machine, whose mail goes through a relay.

mod arguments;
mod desk;
mod log;
mod password;
mod server;
mod settings;
mod users;

pub(crate) use arguments::{BridgeArgs, NOTES};

use crate::{failure::Failure, serve, signals::Signals};
use server::BridgeServer;
use settings::Settings;
use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};
use tokio::select;

/// How long mail under way may take after the first request to stop: less than the 30 s after which
/// service managers commonly kill.
const PATIENCE: Duration = Duration::from_secs(25);

/// Runs a bridge until it is told to stop.
///
/// # Errors
///
/// Where it cannot start with these settings, or ends without having been told to.
pub(crate) async fn bridge(arguments: BridgeArgs) -> Result<ExitCode, Failure> {
    let settings = Settings::gather(arguments.layer, arguments.config.as_deref())?;
    serve::log::start(settings.log.clone().filter());
    if let Some(warning) = settings.uplink.warning() {
        tracing::warn!("{warning}");
    }
    let mut signals = Signals::new().map_err(Failure::running)?;
    let server = BridgeServer::start(settings).await?;
    // Whoever started this may have stopped reading; that is no reason to end.
    let _ = writeln!(io::stdout(), "listening on {}", server.url());
    select! {
        () = server.finished() => return Err(Failure::running("the bridge has ended by itself")),
        name = signals.next() => tracing::info!("{name}: finishing the messages under way"),
    }
    select! {
        () = server.drain(PATIENCE) => {}
        name = signals.next() => {
            tracing::warn!("{name} again: stopping at once");
            server.stop().await;
        }
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}
