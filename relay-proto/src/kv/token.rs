//! Asking a service for a token: one request over HTTP, as a machine.
//!
//! ```
//! use relay_proto::{
//!     Action, Endpoint, Frame, Input, Pump, Step, Time,
//!     kv::token::{Scope, TokenRequest},
//! };
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut scope = Scope::default();
//! scope.subscribe.push("news:*".into());
//! let service = "https://kv.example".parse()?;
//! let request = TokenRequest::new(&service, "my key", &scope, Time::ZERO, Duration::from_secs(10));
//!
//! // A driver does what the machine asks for. Any binding does: `relay_tokio::spawn(request, …)`.
//! let (mut pump, now) = (Pump::new(request), Time::ZERO);
//! let token = loop {
//!     match pump.step(now) {
//!         Step::Perform(Action::Open { link, endpoint: Endpoint::Stream(address) }) => {
//!             assert_eq!((address.to_string().as_str(), address.is_tls()), ("kv.example:443", true));
//!             pump.handle_input(now, Input::Opened { link });
//!         }
//!         Step::Perform(Action::Send { link, frame: Frame::Binary(request) }) => {
//!             assert!(request.starts_with(b"POST /token/websocket HTTP/1.1\r\n"));
//!             let answer = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"token\":\"ab.cd\"}";
//!             pump.handle_input(now, Input::Frame { link, frame: Frame::Binary(answer.into()) });
//!         }
//!         Step::Deliver(result) => break result?,
//!         other => println!("{other:?}"),
//!     }
//! };
//! // For `ClientConfig::new`, or for whoever is to connect with it.
//! assert_eq!(token, relay_proto::kv::client::Credential::Token("ab.cd".into()));
//! # Ok(())
//! # }
//! ```

use super::client::{Credential, ServiceUrl};
use crate::{
    Action, CloseCode, Closure, Deadline, Endpoint, Frame, Input, LinkError, LinkId, Machine,
    OpenError, StreamAddress, Time, WebSocketUrl,
    http::{Exchange, ExchangeError, Progress, Request, Response},
};
use alloc::{
    collections::VecDeque,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, mem, time::Duration};
use serde::{Deserialize, Serialize};

/// What a token is for.
///
/// A pattern is a key, or has `*` for any run of characters in it, or is a regular expression; `docs/key-value.md` says how a service
/// tells them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Scope {
    /// The changes of which keys are told to who connects with it. Default: none.
    #[serde(rename = "subscribePatterns", skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<String>,
    /// Which keys may be read and changed with it. Default: as with the key it is made with.
    #[serde(rename = "accessPattern", skip_serializing_if = "Option::is_none")]
    pub access: Option<String>,
}

/// Asks for one token, and ends: its only event is the token, or why there is none.
///
/// `http://` and `ws://` are asked in clear, `https://` and `wss://` over TLS. `Debug` shows neither key nor token.
pub struct TokenRequest {
    request: Request,
    state: State,
    until: Time,
    actions: VecDeque<Action>,
    event: Option<Result<Credential, TokenError>>,
}

enum State {
    Opening,
    Asked(Exchange),
    Over,
}

/// There is one link.
const LINK: LinkId = LinkId::dialled(0);

/// The longest explanation of a service that is repeated in an error, in bytes.
const MAX_EXPLANATION: usize = 200;

/// More than a service says at once.
const READ_LIMIT: usize = 64 * 1024;

impl TokenRequest {
    /// Asks `service` for a token, as the owner of `key`. It gets `patience` for all of it, from `now` on.
    ///
    /// A line end in the key counts as a space, and is in no key.
    pub fn new(
        service: &ServiceUrl,
        key: &str,
        scope: &Scope,
        now: Time,
        patience: Duration,
    ) -> Self {
        let url = service.websocket_url();
        let address = StreamAddress::new(url.host(), url.port(), url.is_tls());
        let (authority, path) = authority_and_path(url);
        let request = Request::new("POST", [path, "/token/websocket"].concat())
            .with_field("Host", authority)
            .with_field("Content-Type", "application/json")
            .with_field("Accept", "application/json")
            .with_field("x-api-key", key)
            .with_body(serde_json::to_vec(scope).unwrap_or_default());
        let open = Action::Open {
            link: LINK,
            endpoint: Endpoint::Stream(address),
        };
        Self {
            request,
            state: State::Opening,
            until: now.after(patience),
            actions: [open].into(),
            event: None,
        }
    }

    /// Gives up, where there is no answer yet.
    pub fn stop(&mut self) {
        self.end(Err(TokenError::Stopped));
    }

    fn handle_opened(&mut self) {
        if matches!(self.state, State::Opening) {
            self.state = State::Asked(Exchange::new(&self.request));
            let frame = Frame::Binary(self.request.to_bytes());
            self.actions.push_back(Action::Send { link: LINK, frame });
        }
    }

    fn handle_bytes(&mut self, bytes: &[u8]) {
        match mem::replace(&mut self.state, State::Over) {
            State::Asked(exchange) => match exchange.handle_bytes(bytes) {
                Ok(Progress::Incomplete(exchange)) => self.state = State::Asked(exchange),
                Ok(Progress::Complete(response)) => self.settle(judge(&response)),
                Err(error) => self.settle(Err(error.into())),
            },
            other => self.state = other,
        }
    }

    /// The link has ended by itself: there is nothing to close.
    fn handle_closed(&mut self, why: Closure) {
        if let State::Asked(exchange) = mem::replace(&mut self.state, State::Over) {
            let lost = |_| TokenError::Link(LinkError::Closed(why));
            let result = exchange.handle_end().map_err(lost);
            self.event = Some(result.and_then(|response| judge(&response)));
        }
    }

    fn handle_open_failed(&mut self, why: OpenError) {
        if matches!(mem::replace(&mut self.state, State::Over), State::Opening) {
            self.event = Some(Err(TokenError::Link(LinkError::Open(why))));
        }
    }

    /// Ends what is under way.
    fn end(&mut self, result: Result<Credential, TokenError>) {
        if !matches!(mem::replace(&mut self.state, State::Over), State::Over) {
            self.settle(result);
        }
    }

    fn settle(&mut self, result: Result<Credential, TokenError>) {
        self.event = Some(result);
        self.actions.push_back(Action::Close {
            link: LINK,
            code: CloseCode::NORMAL,
            reason: String::new(),
        });
    }
}

/// The authority of a service's URL, for `Host`, and what stands in front of `/ws` in its path.
fn authority_and_path(url: &WebSocketUrl) -> (&str, &str) {
    let (_, rest) = url.as_str().split_once("://").unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (authority, path.strip_suffix("/ws").unwrap_or(path))
}

/// What a service's answer means.
fn judge(response: &Response) -> Result<Credential, TokenError> {
    #[derive(Deserialize)]
    struct Good {
        token: String,
    }
    #[derive(Default, Deserialize)]
    struct Bad {
        error: String,
    }
    match response.status() {
        200..=299 => match serde_json::from_slice(response.body()) {
            Ok(Good { token }) if !token.is_empty() => Ok(Credential::Token(token)),
            _ => Err(TokenError::NoToken),
        },
        401 | 403 => Err(TokenError::NoKey),
        status => {
            let Bad { error } = serde_json::from_slice(response.body()).unwrap_or_default();
            let explanation = match error.is_empty() {
                true => response.reason(),
                false => &error,
            };
            let length = explanation.floor_char_boundary(MAX_EXPLANATION);
            Err(TokenError::Refused {
                status,
                explanation: explanation[..length].to_string(),
            })
        }
    }
}

impl Machine for TokenRequest {
    type Event = Result<Credential, TokenError>;

    fn handle_input(&mut self, _now: Time, input: Input) {
        if input.link() != Some(LINK) {
            return;
        }
        match input {
            Input::Opened { .. } => self.handle_opened(),
            Input::OpenFailed { why, .. } => self.handle_open_failed(why),
            Input::Frame {
                frame: Frame::Binary(bytes),
                ..
            } => self.handle_bytes(&bytes),
            Input::Closed { why, .. } => self.handle_closed(why),
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.until <= now {
            self.end(Err(TokenError::Timeout));
        }
    }

    fn deadline(&self) -> Option<Deadline> {
        match self.state {
            State::Over => None,
            State::Opening | State::Asked(_) => Some(Deadline {
                at: self.until,
                timer: "token",
            }),
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_event(&mut self) -> Option<Self::Event> {
        self.event.take()
    }

    fn read_limit(&self, _link: LinkId) -> usize {
        match self.state {
            State::Asked(_) => READ_LIMIT,
            State::Opening | State::Over => 0,
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("request", &self.request)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The service does not know the key (401 or 403).
    #[error("the service does not accept the key")]
    NoKey,
    /// The service refuses for another reason: the pattern is none (400), it is busy (429, 503), there is no such service there (404).
    #[error("the service makes no token: {explanation:?} (HTTP status {status})")]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// What the service says; a stranger's text, of 200 bytes at most, which may be empty.
        explanation: String,
    },
    /// What answers is no such service.
    #[error("the service {0}")]
    Malformed(#[from] ExchangeError),
    /// It answers with success, and with no token.
    #[error("the answer of the service has no token in it; is it a key-value service?")]
    NoToken,
    /// There is no link to the service, or it was lost before the answer was whole.
    #[error(transparent)]
    Link(LinkError),
    /// The answer was not there in time.
    #[error("the service did not answer in time")]
    Timeout,
    /// [`TokenRequest::stop`] was called first.
    #[error("given up before the service has answered")]
    Stopped,
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
