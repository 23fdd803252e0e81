//! Bring your own runtime: a complete mail client on nothing but std's sockets and tungstenite.
//!
//! ```console
//! $ cargo run -p relay-proto --example own_runtime -- ws://127.0.0.1:8025/ KEY alice@example.org bob@example.net < letter.eml
//! ```
//!
//! Queue, retries, reconnecting, heartbeat and SMTP are all in the machine. What is left for a runtime is what a machine
//! cannot have: a clock, a socket, and a way to wait for both at once. This one has one thread, one link and no TLS.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a machine has no clock and never sleeps; a runtime is there to do it for the machine"
)]

use relay_proto::{
    Action, CloseCode, Closure, Endpoint, Frame, Input, LinkId, OpenError, Pump, Step, Time,
    mail::client::{Client, ClientConfig, Receipt, Submission},
    mail::wire::ApiKey,
    smtp::{Address, Envelope},
    storage::StorageError,
};
use std::{
    array, collections::hash_map::RandomState, env, error::Error, hash::BuildHasher, io,
    io::ErrorKind, io::Read, net::TcpStream, thread, time::Duration, time::Instant,
};
use tungstenite::{Message, WebSocket, client, protocol::CloseFrame};

/// How long a peer that says nothing to the upgrade, or takes no bytes, may hold up the one thread there is. To connect takes
/// as long as the operating system has it.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, key, from, to] = &arguments[..] else {
        return Err("usage: own_runtime URL KEY FROM TO < letter.eml".into());
    };
    let (from, to): (Address, Address) = (from.parse()?, to.parse()?);
    let mut content = Vec::new();
    io::stdin().read_to_end(&mut content)?;
    let submission = Submission::message(Envelope::new(from, [to])?, content.into());
    let config = ClientConfig::new(url.parse()?, ApiKey::new(key));
    println!("accepted: {}", send(config, submission)?.reply);
    Ok(())
}

/// Sends one submission, whatever it takes, and returns its receipt.
pub(crate) fn send(
    config: ClientConfig,
    submission: Submission,
) -> Result<Receipt, Box<dyn Error>> {
    // The clock. A machine's time is a number of which only differences mean anything, so it may start at zero here.
    let start = Instant::now();
    let now = || Time::ZERO.after(start.elapsed());

    // The seed keeps clients that lose their relay together from coming back together. std seeds its hashers from the
    // operating system, which is good enough for that.
    let seed = array::from_fn(|_| RandomState::new().hash_one("seed") as u8);

    // Commands are the machine's own methods. To shut down is to finish what was accepted and then to end, so the loop
    // below needs no rule of its own for when to stop.
    let mut pump = Pump::new(Client::new(config, seed, now()));
    pump.command(now(), |client, now| client.submit(now, submission))?;
    pump.command(now(), |client, now| client.shutdown(now, Duration::MAX));

    // The loop of every runtime: do what the pump says, tell it what came of it. Here each step gives one fact or none.
    let mut websocket = None;
    let mut outcome = None;
    loop {
        let fact = match pump.step(now()) {
            // Every `Open` is answered once, whichever way it goes.
            Step::Perform(Action::Open { link, endpoint }) => Some(match open(&endpoint) {
                Ok(opened) => {
                    websocket = Some((link, opened));
                    Input::Opened { link }
                }
                Err(error) => {
                    let (endpoint, detail) = (endpoint.to_string(), error.to_string());
                    let why = OpenError::Unreachable { endpoint, detail };
                    Input::OpenFailed { link, why }
                }
            }),
            // Every `Send` is answered once the socket has taken it: a large message comes in pieces, and `Written` asks
            // for the next. A link that has ended takes nothing and answers nothing more.
            Step::Perform(Action::Send { link, frame }) => {
                let open = websocket.as_mut().map(|(_, open)| open);
                open.map(|open| match open.send(message(frame)) {
                    Ok(()) => Input::Written { link },
                    Err(error) => lost(link, &error),
                })
            }
            // TLS within a byte stream. A mail client has none.
            Step::Perform(Action::StartTls { link }) => {
                let detail = "no byte stream".to_owned();
                websocket.take().map(|_| Input::Closed {
                    link,
                    why: Closure::Lost { detail },
                })
            }
            // Every link that was open ends in one `Closed`, also when the machine has asked for it.
            Step::Perform(Action::Close { link, code, reason }) => {
                websocket.take().map(|(_, open)| {
                    close(open, code, &reason);
                    let why = Closure::Local;
                    Input::Closed { link, why }
                })
            }
            // A client that was made without an outbox on disk never asks for this. A runtime that has no storage says so.
            Step::Perform(Action::Store { batch, .. }) => {
                let result = Err(StorageError::Absent);
                Some(Input::Stored { batch, result })
            }
            // Events are for the application. This one only wants to know how its submission ended.
            Step::Deliver(event) => {
                let ended = event.outcome().map(|(_, result)| result.cloned());
                outcome = ended.map(|result| result.map_err(Clone::clone)).or(outcome);
                None
            }
            // Nothing to do before something arrives or the deadline comes. So the one timer a runtime needs is the
            // longest a read may take; that it is due the next `step` sees by itself. To wake early does no harm.
            Step::Wait { until } => {
                let left = until.map_or(PATIENCE, |deadline| deadline.at.since(now()));
                match &mut websocket {
                    Some((link, open)) => receive(*link, open, left),
                    None => {
                        thread::sleep(left);
                        None
                    }
                }
            }
            Step::Finished => return Ok(outcome.ok_or("ended without an outcome")??),
        };
        if let Some(fact) = fact {
            websocket.take_if(|_| matches!(fact, Input::Closed { .. }));
            pump.handle_input(now(), fact);
        }
    }
}

fn open(to: &Endpoint) -> Result<WebSocket<TcpStream>, Box<dyn Error>> {
    let Endpoint::WebSocket(url) = to else {
        return Err("only WebSockets are spoken here".into());
    };
    if url.is_tls() {
        return Err("no TLS is spoken here; use ws://".into());
    }
    let socket = TcpStream::connect((url.host(), url.port()))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(client(url.as_str(), socket)?.0)
}

/// What arrives in the time that is left; tungstenite keeps the part of a frame that has come so far.
fn receive(link: LinkId, open: &mut WebSocket<TcpStream>, left: Duration) -> Option<Input> {
    // No time at all would mean "for ever" to a socket.
    let left = Some(left.max(Duration::from_millis(1)));
    if let Err(error) = open.get_ref().set_read_timeout(left) {
        return Some(lost(link, &error.into()));
    }
    let frame = match open.read() {
        Ok(Message::Text(text)) => Frame::Text(text.into()),
        Ok(Message::Binary(bytes)) => Frame::Binary(bytes),
        Ok(Message::Ping(payload)) => Frame::Ping(payload),
        Ok(Message::Pong(payload)) => Frame::Pong(payload),
        Ok(Message::Close(goodbye)) => {
            let code = goodbye.as_ref().map(|close| CloseCode(close.code.into()));
            let reason = goodbye.map_or_else(String::new, |close| close.reason.to_string());
            // tungstenite has the answer ready; this sends it.
            let _ = open.flush();
            let why = Closure::Peer { code, reason };
            return Some(Input::Closed { link, why });
        }
        Ok(Message::Frame(_)) => return None,
        // Which of the two a read timeout is called depends on the operating system.
        Err(tungstenite::Error::Io(error))
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
        {
            return None;
        }
        Err(error) => return Some(lost(link, &error)),
    };
    Some(Input::Frame { link, frame })
}

fn message(frame: Frame) -> Message {
    match frame {
        // What the machine sends as text is UTF-8.
        Frame::Text(text) => Message::Text(text.try_into().unwrap_or_default()),
        Frame::Binary(bytes) => Message::Binary(bytes),
        Frame::Ping(payload) => Message::Ping(payload),
        Frame::Pong(payload) => Message::Pong(payload),
    }
}

/// Says goodbye and hears the peer out, until it has been silent for two seconds.
fn close(mut open: WebSocket<TcpStream>, code: CloseCode, reason: &str) {
    // A close frame has room for a code and 123 bytes (RFC 6455, section 5.5).
    let reason = reason[..reason.floor_char_boundary(123)].into();
    let code = code.0.into();
    let silence = Some(Duration::from_secs(2));
    let _ = open.get_ref().set_read_timeout(silence);
    let _ = open.close(Some(CloseFrame { code, reason }));
    while open.read().is_ok() {}
}

fn lost(link: LinkId, error: &tungstenite::Error) -> Input {
    let detail = error.to_string();
    let why = Closure::Lost { detail };
    Input::Closed { link, why }
}
