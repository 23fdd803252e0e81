//! What is behind an HTTP server.

use super::{Request, Response};
use crate::{LinkId, Machine, Time};
use core::net::IpAddr;

/// A machine whose WebSockets are reached over HTTP: it is asked before one of them becomes a link, and may answer plain requests
/// besides.
///
/// The crate `relay-http` puts a site behind a listener for byte streams. What it promises:
///
/// - Each connection asks at most once, whole: head and body are bounded, well-formed and read to their end.
/// - A request to upgrade has been checked ([`Request::is_upgrade`] and all of RFC 6455, section 4.2.1, and that its origin may
///   open links): where the answer is [`Answer::Upgrade`], [`Input::Accepted`](crate::Input::Accepted) of this link
///   follows before any other input. From then on the link is a WebSocket, as the contract of [`Machine`] has it.
/// - Of a connection that was answered otherwise nothing else is heard.
pub trait Site: Machine {
    /// Takes a request that came from `peer` on a connection that becomes `link` if it becomes one.
    ///
    /// Like an input it may change state and cause actions and events; they come behind the answer.
    fn handle_request(
        &mut self,
        now: Time,
        link: LinkId,
        peer: Option<IpAddr>,
        request: &Request,
    ) -> Answer;
}

/// What a site answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a server that ignored an answer would leave its client waiting"
)]
pub enum Answer {
    /// This response, and the connection ends.
    Respond(Response),
    /// The same at this time, which slows down those who try keys. The connection counts as one whose request is not complete until
    /// then.
    RespondLater {
        /// When.
        at: Time,
        /// What.
        response: Response,
    },
    /// The connection becomes a WebSocket. In answer to a request that did not ask for that, the client is told to (426), and no
    /// link follows.
    Upgrade,
}
