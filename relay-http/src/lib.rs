//! HTTP and WebSockets at one port, in front of a machine: [`Front`] over the byte streams of any binding.
//!
//! A binding's own WebSocket listener takes whoever asks for a WebSocket. A service that looks at a path, a query or a field before it
//! opens one, or answers plain requests besides, is a [`Site`](relay_proto::http::Site), and has a front put before it. The front is a
//! machine as well: it reads one request from each connection (RFC 9112), asks the site, and either sends the site's response and
//! hangs up, or shakes hands (RFC 6455) and is the transport of a WebSocket from then on. To the site that is a link like any other.
//!
//! ```
//! use relay_http::Front;
//! use relay_proto::{
//!     Action, Deadline, Frame, Input, LinkId, Machine, Pump, Step, Time,
//!     http::{Answer, Request, Response, Site},
//! };
//! use relay_transport::Config;
//! use std::{collections::VecDeque, net::IpAddr};
//!
//! /// Sends back what it gets, on `/echo`.
//! #[derive(Default)]
//! struct Echo(VecDeque<Action>);
//!
//! impl Machine for Echo {
//!     type Event = ();
//!     fn handle_input(&mut self, _now: Time, input: Input) {
//!         if let Input::Frame { link, frame: frame @ (Frame::Text(_) | Frame::Binary(_)) } = input {
//!             self.0.push_back(Action::Send { link, frame });
//!         }
//!     }
//!     fn handle_timeout(&mut self, _now: Time) {}
//!     fn deadline(&self) -> Option<Deadline> { None }
//!     fn poll_action(&mut self) -> Option<Action> { self.0.pop_front() }
//!     fn poll_event(&mut self) -> Option<()> { None }
//!     fn read_limit(&self, _link: LinkId) -> usize { 65_536 }
//!     fn is_finished(&self) -> bool { false }
//! }
//!
//! impl Site for Echo {
//!     fn handle_request(&mut self, _now: Time, _link: LinkId, _peer: Option<IpAddr>, request: &Request) -> Answer {
//!         match request.path() {
//!             "/echo" => Answer::Upgrade,
//!             _ => Answer::Respond(Response::new(404)),
//!         }
//!     }
//! }
//!
//! // In earnest: `relay_tokio::spawn(front, …)`, and `listen_stream`. Here by hand, for one connection.
//! let mut pump = Pump::new(Front::new(Echo::default(), Config::default()));
//! let (now, link) = (Time::ZERO, LinkId::accepted(0));
//! pump.handle_input(now, Input::Accepted { link, peer: None });
//! let request = Frame::Binary("GET /?x=1 HTTP/1.1\r\nHost: relay.example\r\n\r\n".into());
//! pump.handle_input(now, Input::Frame { link, frame: request });
//! let Step::Perform(Action::Send { frame: Frame::Binary(response), .. }) = pump.step(now) else {
//!     panic!("a request has a response");
//! };
//! assert!(response.starts_with(b"HTTP/1.1 404 Not Found\r\n"));
//! assert!(matches!(pump.step(now), Step::Perform(Action::Close { .. })));
//! ```
//!
//! # What a site can rely on
//!
//! - The contract of [`Machine`](relay_proto::Machine), as over a binding's WebSockets: `Written` one to one and in order, one `Closed` and
//!   nothing behind it, pings answered, messages checked to be UTF-8 and within its read limit, and 1002, 1007 or 1009 for peers
//!   that break the rules.
//! - Its [`read_limit`](relay_proto::Machine::read_limit) pushes back: at zero nothing is read from the connection. So does a peer that
//!   sends pings and does not read the pongs.
//! - What two HTTP servers could understand in two ways is refused before the site sees it.
//! - Nothing waits for ever: a request has to be whole within 10 s, a close frame answered within 2 s ([`Config`]).
//!
//! [`Config`]: relay_transport::Config

mod connection;
mod front;
mod handshake;
mod websocket;

pub use front::Front;
