//! What is measured: a client and its relay, and what stands behind that.

use super::{arguments::BenchArgs, line::Line, sink::Sink};
use crate::{
    config::{Destination, Settings},
    failure::Failure,
    serve::Service,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use relay_proto::{
    StreamAddress,
    mail::{client::ClientConfig, wire::ApiKey},
    smtp::Access,
};
use relay_tokio::{Config, TlsAcceptor, mail::Client};
use relay_transport::tls::server_config;
use std::{net::SocketAddr, time::Duration};

/// More than any frame around the largest message costs.
const MARGIN: u64 = 1 << 20;

/// A client, and its relay where that was started here.
pub(super) struct Rig {
    client: Client,
    ours: Option<Ours>,
}

struct Ours {
    service: Service,
    sink: Sink,
    /// Between client and relay. It lasts as long as the rig.
    _line: Option<Line>,
}

impl Rig {
    /// Starts everything there is to start.
    ///
    /// # Errors
    ///
    /// Where a port or a file is missing.
    pub(super) async fn set_up(arguments: &BenchArgs) -> Result<Self, Failure> {
        let size = arguments.size as u64;
        let (mut config, transport, ours) = match arguments.uplink() {
            Some(uplink) => {
                let (config, transport) = uplink.configure(size)?;
                (config, transport, None)
            }
            None => Ours::start(arguments).await?,
        };
        config.durable = !arguments.base_only;
        let client = Client::start(config, transport);
        Ok(Self { client, ours })
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Ends everything; what is wrong with what has arrived where the numbers below `count` should have.
    pub(super) async fn take_down(self, count: usize) -> Option<String> {
        self.client.shutdown(Duration::from_secs(1)).await;
        let Ours { service, sink, .. } = self.ours?;
        service.drain(Duration::from_secs(1)).await;
        sink.finish().await.complaint(count)
    }
}

impl Ours {
    async fn start(arguments: &BenchArgs) -> Result<(ClientConfig, Config, Option<Self>), Failure> {
        let max_message_bytes = arguments.size as u64 + MARGIN;
        let recipients = arguments.recipients.get();
        let sink = Sink::start(recipients.max(arguments.to.len()), max_message_bytes)
            .await
            .map_err(Failure::running)?;
        let mut transport = Config::default();
        let tls = if arguments.tls {
            let CertifiedKey { cert, signing_key } =
                generate_simple_self_signed(["localhost".to_owned()]).map_err(Failure::running)?;
            transport.extra_roots.push(cert.der().clone());
            let (certificate, key) = (cert.pem(), signing_key.serialize_pem());
            let config = server_config(certificate.as_bytes(), key.as_bytes());
            Some(TlsAcceptor::from(config.map_err(Failure::running)?))
        } else {
            None
        };
        let key = ApiKey::new("bench");
        let service =
            Service::start(settings(&key, sink.address(), tls, max_message_bytes)?).await?;
        let line = arguments
            .round_trip
            .map(|round_trip| Line::lay(service.address(), round_trip))
            .transpose()
            .map_err(Failure::running)?;
        let port = line
            .as_ref()
            .map_or(service.address(), Line::address)
            .port();
        // The name in the certificate; on every system it leads to this machine.
        let (scheme, host) = if service.is_tls() {
            ("wss", "localhost")
        } else {
            ("ws", "127.0.0.1")
        };
        let url = format!("{scheme}://{host}:{port}/");
        let config = ClientConfig::new(url.parse().map_err(Failure::running)?, key);
        let ours = Self {
            service,
            sink,
            _line: line,
        };
        Ok((config, transport, Some(ours)))
    }
}

/// A relay that takes everything and passes it on to the sink.
fn settings(
    key: &ApiKey,
    sink: SocketAddr,
    tls: Option<TlsAcceptor>,
    max_message_bytes: u64,
) -> Result<Settings, Failure> {
    let upstream = StreamAddress::new(sink.ip().to_string(), sink.port(), false);
    let destination = Destination::Upstream(upstream, Access::NONE);
    Ok(Settings {
        tls,
        max_message_bytes,
        ..Settings::private(key, destination).map_err(Failure::running)?
    })
}
