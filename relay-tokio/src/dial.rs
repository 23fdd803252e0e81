//! Opens links: name lookup, TCP, TLS, WebSocket upgrade.

use crate::{
    context::Context,
    link::Link,
    transport::{ByteStream, Socket, WebSocket},
};
use relay_proto::{Endpoint, Input, OpenError};
use relay_transport::{fault, websocket};
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::net::{TcpStream, lookup_host};
use tokio_tungstenite::client_async_with_config;

/// Opens the link and runs it to its end. Aborting the task abandons the opening.
pub(crate) async fn dial(link: Link, endpoint: Endpoint, context: Arc<Context>) {
    let id = link.id();
    let name = endpoint.to_string();
    match endpoint {
        Endpoint::WebSocket(url) => {
            let opened = async {
                let socket = connect(&name, url.host(), url.port(), url.is_tls(), &context).await?;
                let config = websocket::config(context.config.max_frame_bytes);
                let (websocket, _) = client_async_with_config(url.as_str(), socket, Some(config))
                    .await
                    .map_err(|error| fault::upgrade(name, error))?;
                Ok(WebSocket(websocket))
            };
            match opened.await {
                Ok(websocket) => {
                    link.report(Input::Opened { link: id }).await;
                    link.run(websocket).await;
                }
                Err(why) => link.report(Input::OpenFailed { link: id, why }).await,
            }
        }
        Endpoint::Stream(to) => {
            match connect(&name, to.host(), to.port(), to.is_tls(), &context).await {
                Ok(socket) => {
                    link.report(Input::Opened { link: id }).await;
                    link.run(ByteStream::new(socket)).await;
                }
                Err(why) => link.report(Input::OpenFailed { link: id, why }).await,
            }
        }
    }
}

async fn connect(
    endpoint: &str,
    host: &str,
    port: u16,
    tls: bool,
    context: &Context,
) -> Result<Box<dyn Socket>, OpenError> {
    let addresses: Vec<_> = lookup_host((host, port))
        .await
        .map_err(|error| fault::unresolved(endpoint.to_owned(), &error))?
        .collect();
    let tcp = TcpStream::connect(&addresses[..])
        .await
        .map_err(|error| fault::unreachable(endpoint.to_owned(), &error))?;
    tcp.set_nodelay(true)
        .map_err(|error| fault::unreachable(endpoint.to_owned(), &error))?;
    if !tls {
        return Ok(Box::new(tcp));
    }
    let unavailable = |detail| fault::tls_unavailable(endpoint.to_owned(), detail);
    let connector = context.tls_connector().await.map_err(unavailable)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| unavailable(format!("no certificate can name the host {host:?}")))?;
    let stream = connector
        .connect(name, tcp)
        .await
        .map_err(|error| fault::tls(endpoint.to_owned(), &error))?;
    Ok(Box::new(stream))
}
