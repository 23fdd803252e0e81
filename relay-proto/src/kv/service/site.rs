//! What the service is asked over HTTP.

use super::{
    Event, KeyDigest, Phase, RESTARTS, Service, link::Rights, pattern::Patterns, token::Claims,
};
use crate::{
    LinkId, Machine, Time,
    http::{Answer, Request, Response, Site},
};
use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::net::IpAddr;
use serde::Deserialize;

/// The most bytes of all patterns in a token, so that it fits into the first line of a request.
const MAX_PATTERNS_BYTES: usize = 4 * 1024;

/// Why a request gets another answer than it wants.
struct Refusal {
    status: u16,
    error: String,
}

impl Refusal {
    fn new(status: u16, error: impl Into<String>) -> Self {
        let error = error.into();
        Self { status, error }
    }

    fn into_response(self) -> Response {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            error: &'a str,
        }
        let body = Body { error: &self.error };
        let json = serde_json::to_string(&body).expect("a string in a struct is always JSON");
        let response = Response::json(self.status, json);
        match self.status {
            405 => response.with_field("Allow", "POST"),
            503 => response.with_field("Retry-After", "1"),
            _ => response,
        }
    }
}

impl Site for Service {
    /// Lets a client in, makes a token, or says why not.
    ///
    /// A wrong key is told at once the first time it comes from an address (for IPv6: its /64), and then after 250 ms, twice that and so
    /// on up to 5 s, until ten minutes pass without one. Good keys never wait.
    fn handle_request(
        &mut self,
        now: Time,
        link: LinkId,
        peer: Option<IpAddr>,
        request: &Request,
    ) -> Answer {
        if self.is_finished() {
            return Answer::Respond(Refusal::new(503, RESTARTS).into_response());
        }
        // The published client writes two slashes where its base URL ends in one.
        let path = request.path();
        let path = path
            .strip_prefix('/')
            .map_or(path, |_| path.trim_start_matches('/'));
        let answered = if !matches!(self.phase, Phase::Running) {
            Err(Refusal::new(503, RESTARTS))
        } else {
            match path {
                "ws" if !request.is_upgrade() => return Answer::Upgrade,
                "ws" => match self.let_in(link, request) {
                    Ok(()) => return Answer::Upgrade,
                    Err(refusal) => Err(refusal),
                },
                "token/websocket" => self.make_token(request),
                _ => Err(Refusal::new(
                    404,
                    "there is nothing here; there are /ws and /token/websocket",
                )),
            }
        };
        match answered {
            Ok((name, response)) => {
                self.events.push_back(Event::TokenMade { peer, name });
                Answer::Respond(response)
            }
            Err(refusal) => {
                let why = match refusal.status {
                    401 | 403 => "no valid API key or token",
                    503 if matches!(self.phase, Phase::Draining { .. }) => RESTARTS,
                    503 => "no room",
                    _ => "a request that makes no sense",
                };
                self.events.push_back(Event::Refused { peer, why });
                let is_guess = refusal.status == 403;
                let response = refusal.into_response();
                match is_guess {
                    true => self.refuse_later(now, peer, response),
                    false => Answer::Respond(response),
                }
            }
        }
    }
}

impl Service {
    fn refuse_later(&mut self, now: Time, peer: Option<IpAddr>, response: Response) -> Answer {
        let wait = self.refusals.wait(now, peer);
        let at = now.after(wait);
        if wait.is_zero() {
            Answer::Respond(response)
        } else {
            Answer::RespondLater { at, response }
        }
    }

    fn let_in(&mut self, link: LinkId, request: &Request) -> Result<(), Refusal> {
        let key = request.query_value("apiKey").filter(|key| !key.is_empty());
        let token = request
            .query_value("token")
            .filter(|token| !token.is_empty());
        let wrong = || Refusal::new(403, "this API key or token is not valid");
        let rights = match (key, token) {
            (Some(key), _) => Rights {
                key: KeyDigest::of(&key),
                with_token: false,
                patterns: Patterns::default(),
            },
            (None, Some(token)) => {
                let claims = self.signer.read(&token).ok_or_else(wrong)?;
                let access = claims.access.as_deref();
                let patterns = Patterns::new(access, &claims.subscriptions);
                Rights {
                    key: claims.key,
                    with_token: true,
                    patterns: patterns.map_err(|_| wrong())?,
                }
            }
            (None, None) => {
                return Err(Refusal::new(
                    403,
                    "an apiKey or a token is missing in the query",
                ));
            }
        };
        if self.accounts.get(rights.key).is_none() {
            return Err(wrong());
        }
        if let Some(why) = self.accounts.refuses_link(&self.config, rights.key) {
            return Err(Refusal::new(503, why));
        }
        self.admitted = Some((link, Arc::new(rights)));
        Ok(())
    }

    fn make_token(&self, request: &Request) -> Result<(Arc<str>, Response), Refusal> {
        if request.method() != "POST" {
            return Err(Refusal::new(405, "a token is asked for with POST"));
        }
        let Some(key) = request.fields().get("x-api-key") else {
            return Err(Refusal::new(401, "the field x-api-key is missing"));
        };
        let key = KeyDigest::of(key);
        let Some(account) = self.accounts.get(key) else {
            return Err(Refusal::new(403, "this API key is not valid"));
        };
        let name = Arc::clone(&account.name);
        let wishes = Wishes::read(request.body())?;
        Patterns::new(wishes.access.as_deref(), &wishes.subscriptions)
            .map_err(|error| Refusal::new(400, error.to_string()))?;
        if !self.is_registered() {
            return Err(Refusal::new(503, "the store is not ready yet"));
        }
        let token = self.signer.sign(&Claims {
            key,
            access: wishes.access,
            subscriptions: wishes.subscriptions,
        });
        // A token has no character that would need an escape.
        let body = format!(r#"{{"token":"{token}"}}"#);
        let response = Response::json(200, body).with_field("Cache-Control", "no-store");
        Ok((name, response))
    }

    /// Whether the secret that tokens are signed with outlives a restart, if anything does.
    fn is_registered(&self) -> bool {
        let recorder = self.recorder.as_ref();
        recorder.is_none_or(|recorder| recorder.is_stored(&super::Item::Register))
    }
}

/// What a token is to allow.
struct Wishes {
    access: Option<String>,
    subscriptions: Vec<String>,
}

impl Wishes {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            #[serde(default)]
            subscribe_patterns: Option<Vec<String>>,
            /// What clients before 1.3 send in place of the above.
            #[serde(default)]
            subscribe_keys: Option<Vec<String>>,
            #[serde(default)]
            access_pattern: Option<String>,
        }
        let wrong = || {
            let error = r#"the body must be {"subscribePatterns":[text…],"accessPattern":text}, either of them optional"#;
            Refusal::new(400, error)
        };
        // The derived reader would take an array as a list of fields, too.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(wrong());
        }
        let body: Body = serde_json::from_slice(body).map_err(|_| wrong())?;
        let mut subscriptions = body.subscribe_patterns.unwrap_or_default();
        subscriptions.extend(body.subscribe_keys.unwrap_or_default());
        let access = body.access_pattern;
        let texts = subscriptions.iter().chain(&access);
        if texts.map(String::len).sum::<usize>() > MAX_PATTERNS_BYTES {
            let error = format!("all patterns together have up to {MAX_PATTERNS_BYTES} bytes");
            return Err(Refusal::new(400, error));
        }
        Ok(Self {
            access,
            subscriptions,
        })
    }
}
