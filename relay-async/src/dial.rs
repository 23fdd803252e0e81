//! Opens links: name lookup, TCP, TLS, WebSocket upgrade.

use crate::{
    Runtime,
    context::Context,
    happy_eyeballs,
    link::Link,
    transport::{ByteStream, OnRequest, WebSocket},
};
use relay_proto::{Endpoint, Input, OpenError, WebSocketUrl};
use relay_transport::{fault, websocket};
use std::sync::Arc;
use tungstenite::client::IntoClientRequest;

/// Opens the link and runs it to its end. Aborting the task abandons the opening.
pub(crate) async fn dial<R: Runtime>(link: Link, endpoint: Endpoint, context: Arc<Context>) {
    let id = link.id();
    let name = endpoint.to_string();
    match endpoint {
        Endpoint::WebSocket(url) => match open_websocket::<R>(name, &url, &context).await {
            Ok(websocket) => {
                link.report(Input::Opened { link: id }).await;
                link.run::<R, _>(websocket).await;
            }
            Err(why) => link.report(Input::OpenFailed { link: id, why }).await,
        },
        Endpoint::Stream(to) => {
            match connect::<R>(&name, to.host(), to.port(), to.is_tls(), &context).await {
                Ok(socket) => {
                    link.report(Input::Opened { link: id }).await;
                    let tls = OnRequest::Client(to.host().to_owned());
                    let stream = ByteStream::<R>::new(socket, tls, context);
                    link.run::<R, _>(stream).await;
                }
                Err(why) => link.report(Input::OpenFailed { link: id, why }).await,
            }
        }
    }
}

async fn open_websocket<R: Runtime>(
    name: String,
    url: &WebSocketUrl,
    context: &Context,
) -> Result<WebSocket<R>, OpenError> {
    let socket = connect::<R>(&name, url.host(), url.port(), url.is_tls(), context).await?;
    let config = websocket::config(context.config.max_frame_bytes);
    let request = match url.as_str().into_client_request() {
        Ok(request) => request,
        Err(error) => return Err(fault::upgrade(name, error)),
    };
    match R::websocket_connect(socket, request, config).await {
        Ok(websocket) => Ok(WebSocket(websocket)),
        Err(error) => Err(fault::upgrade(name, error)),
    }
}

/// The way to a host: TCP to the first of its addresses that answers, and TLS over it where that is wanted.
async fn connect<R: Runtime>(
    endpoint: &str,
    host: &str,
    port: u16,
    tls: bool,
    context: &Context,
) -> Result<R::Socket, OpenError> {
    let addresses = R::resolve(host, port)
        .await
        .map_err(|error| fault::unresolved(endpoint.to_owned(), &error))?;
    let socket = happy_eyeballs::connect::<R, _, _>(addresses, R::connect)
        .await
        .map_err(|attempts| fault::all_unreachable(endpoint.to_owned(), &attempts))?;
    if !tls {
        return Ok(socket);
    }
    let (config, name) = context
        .tls_with(host)
        .await
        .map_err(|detail| fault::tls_unavailable(endpoint.to_owned(), detail))?;
    R::tls_connect(socket, name, config)
        .await
        .map_err(|error| fault::tls(endpoint.to_owned(), &error))
}
