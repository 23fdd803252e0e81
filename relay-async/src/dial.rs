//! Opens links: name lookup, TCP, a proxy on the way, TLS, WebSocket upgrade.

use crate::{
    Runtime,
    context::Context,
    happy_eyeballs,
    link::Link,
    runtime::timeout,
    transport::{ByteStream, OnRequest, WebSocket},
};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use relay_proto::{
    Endpoint, Input, OpenError, WebSocketUrl,
    proxy::{Answer, Connect, ConnectError},
};
use relay_transport::{Route, fault, tls::server_name, websocket};
use rustls::ClientConfig;
use std::{io, sync::Arc, time::Duration};

/// Opens the link and runs it to its end. Aborting the task abandons the opening, which has memory of its own.
pub(crate) async fn dial<R: Runtime>(link: Link, endpoint: Endpoint, context: Arc<Context>) {
    let id = link.id();
    let route = Route::new(endpoint, &context.config);
    match route.endpoint() {
        Endpoint::WebSocket(url) => {
            match Box::pin(open_websocket::<R>(url, &route, &context)).await {
                Ok(websocket) => {
                    link.report(Input::Opened { link: id });
                    link.run::<R, _>(Box::new(websocket)).await;
                }
                Err(why) => link.report(Input::OpenFailed { link: id, why }),
            }
        }
        Endpoint::Stream(to) => match Box::pin(connect::<R>(&route, &context)).await {
            Ok(socket) => {
                link.report(Input::Opened { link: id });
                let tls = match to.is_tls() {
                    true => OnRequest::Never,
                    false => OnRequest::Client(to.host().to_owned()),
                };
                let stream = ByteStream::<R>::new(socket, tls, Arc::clone(&context));
                link.run::<R, _>(Box::new(stream)).await;
            }
            Err(why) => link.report(Input::OpenFailed { link: id, why }),
        },
    }
}

async fn open_websocket<R: Runtime>(
    url: &WebSocketUrl,
    route: &Route,
    context: &Context,
) -> Result<WebSocket<R>, OpenError> {
    let socket = connect::<R>(route, context).await?;
    let config = context.websocket_config();
    let failed = |error| fault::upgrade(url.to_string(), error);
    let request = websocket::request(url, &context.config.headers).map_err(failed)?;
    let upgrading = R::websocket_connect(socket, request, config);
    match timeout::<R, _>(context.config.connect_timeout, upgrading).await {
        Some(websocket) => websocket.map(WebSocket).map_err(failed),
        None => Err(failed(timed_out().into())),
    }
}

/// The way to an endpoint: TCP to the first address that answers, through a proxy where there is one, and TLS where that
/// is wanted.
async fn connect<R: Runtime>(route: &Route, context: &Context) -> Result<R::Socket, OpenError> {
    let (host, port) = route.first_hop();
    let addresses = R::resolve(host, port)
        .await
        .map_err(|error| route.unresolved(&error))?;
    let patience = context.config.connect_timeout;
    let connecting = happy_eyeballs::connect::<R, _, _>(addresses, R::connect);
    let mut socket = match timeout::<R, _>(patience, connecting).await {
        Some(connected) => connected.map_err(|attempts| route.unreachable(&attempts))?,
        None => return Err(route.no_answer()),
    };
    let unavailable = |detail| route.tls_unavailable(detail);
    if let Some(proxy) = route.proxy()
        && proxy.is_tls()
    {
        let clients = context.tls_clients().await.map_err(unavailable)?;
        let config = Arc::clone(&clients.proxy);
        socket = secure::<R>(socket, proxy.host(), config, patience)
            .await
            .map_err(unavailable)?
            .map_err(|error| route.proxy_tls_failed(&error))?;
    }
    if let Some(connect) = route.tunnel() {
        timeout::<R, _>(patience, tunnel::<R>(&mut socket, connect))
            .await
            .unwrap_or_else(|| Err(timed_out()))
            .map_err(|error| route.tunnel_broke(&error))?
            .map_err(|error| route.no_tunnel(error))?;
    }
    if route.is_tls() {
        let clients = context.tls_clients().await.map_err(unavailable)?;
        let config = Arc::clone(&clients.server);
        let (host, _) = route.server();
        socket = secure::<R>(socket, host, config, patience)
            .await
            .map_err(unavailable)?
            .map_err(|error| route.tls_failed(&error))?;
    }
    Ok(socket)
}

/// TLS with a host of this name; or why there can be none.
async fn secure<R: Runtime>(
    socket: R::Socket,
    host: &str,
    config: Arc<ClientConfig>,
    patience: Duration,
) -> Result<io::Result<R::Socket>, String> {
    let name = server_name(host)?;
    let securing = timeout::<R, _>(patience, R::tls_connect(socket, name, config));
    Ok(securing.await.unwrap_or_else(|| Err(timed_out())))
}

fn timed_out() -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// Asks a proxy for a tunnel.
async fn tunnel<R: Runtime>(
    socket: &mut R::Socket,
    mut connect: Connect,
) -> io::Result<Result<(), ConnectError>> {
    socket.write_all(connect.request()).await?;
    socket.flush().await?;
    loop {
        // One at a time, so that nothing is read which is the tunnel's already.
        let mut byte = [0];
        if socket.read(&mut byte).await? == 0 {
            return Ok(Err(connect.handle_end()));
        }
        match connect.handle_bytes(&byte) {
            Ok(Answer::Incomplete(incomplete)) => connect = incomplete,
            Ok(Answer::Established { .. }) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
    }
}
