//! What clients do to the relay: come, speak, take, fall silent, go.

use super::{
    Phase, Policy, RESTARTS, Relay,
    channel::{Owner, Start},
    client_link::{ClientLink, Early, Serving, Slot, State},
    event::Event,
    front::{Ending, FrontId},
    timers::Timed,
};
use crate::{
    Action, CloseCode, Frame, LinkId, Time,
    link::Pulse,
    mail::wire::{AUTHENTICATION_TIMEOUT, DurableRequest, Message, Violation, decode},
};
use alloc::{format, string::String, sync::Arc};
use bytes::Bytes;
use core::net::IpAddr;

impl Relay {
    pub(super) fn accept(&mut self, now: Time, link: LinkId, peer: Option<IpAddr>) {
        if self.fronts.clients.contains_key(&link) {
            return;
        }
        let refusal = if matches!(self.phase, Phase::Draining { .. }) {
            Some((CloseCode::SERVICE_RESTART, RESTARTS))
        } else if self.fronts.clients.len() >= self.config.max_links {
            Some((CloseCode::TRY_AGAIN_LATER, "too many links"))
        } else {
            let most = self.config.max_unauthenticated_links;
            let why = self.strangers.turns_away(peer, most);
            why.map(|why| (CloseCode::TRY_AGAIN_LATER, why))
        };
        if let Some((code, why)) = refusal {
            self.output.actions.push_back(Action::Close {
                link,
                code,
                reason: why.into(),
            });
            self.output
                .events
                .push_back(Event::TurnedAway { link, peer, why });
            return;
        }
        let client = ClientLink::new(link, peer, &self.config, now);
        self.fronts.clients.insert(link, client);
        self.strangers.insert(link, peer);
        self.output
            .events
            .push_back(Event::Connected { link, peer });
    }

    /// Why an account gets no further link, where it gets none.
    pub(super) fn refuses_link(
        &mut self,
        policy: &Policy,
        durable: Option<DurableRequest>,
    ) -> Option<&'static str> {
        // A client that comes back leaves its old link, which may not be known to be dead.
        let replaced = match durable {
            Some(DurableRequest::Resume { session, .. }) => {
                let front = self.fronts.sessions.get(&session);
                front.is_some_and(|front| front.policy.account == policy.account)
                    && self.sessions.update(session, |session, ()| session.link()) != Some(None)
            }
            _ => false,
        };
        let links = self.fronts.clients.len();
        self.usage
            .refuses_link(policy, &self.config, links, replaced.into())
    }

    pub(super) fn client_frame(&mut self, now: Time, link: LinkId, frame: &Frame) {
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return;
        };
        client.heartbeat.heard(now);
        if matches!(frame, Frame::Ping(_) | Frame::Pong(_)) {
            return client.chatter.heard_nothing(now);
        }
        let read = if frame.len() > client.frame_limit() {
            Err(Violation {
                code: CloseCode::MESSAGE_TOO_BIG,
                reason: format!("frames have up to {} bytes here", client.frame_limit()),
            })
        } else {
            match &mut client.state {
                State::Refusing { .. } | State::Closing { .. } => return,
                State::Durable(session) => {
                    let session = *session;
                    if let Err(violation) = self.durable_frame(now, link, session, frame) {
                        self.violated(now, link, violation);
                    }
                    return;
                }
                State::Deciding { early, .. } => early.push(frame.clone()).map(|()| None),
                State::Unauthenticated { .. } | State::Serving(_) => {
                    decode(frame).inspect(|message| {
                        if message.is_none() {
                            client.ignores(now);
                        }
                    })
                }
            }
        };
        let handled = read.and_then(|message| match message {
            Some(message) => self.client_message(now, link, message),
            None => Ok(()),
        });
        if let Err(violation) = handled {
            self.violated(now, link, violation);
        }
    }

    /// The oldest frame to a client has left. Content that leaves is a sign of life, a ping, which is empty, is not.
    pub(super) fn client_written(&mut self, now: Time, link: LinkId) {
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return;
        };
        let was_slow = client.is_slow();
        if client.outgoing.written() > 0 {
            client.heartbeat.heard(now);
            if let State::Durable(session) = client.state {
                // What its session has to say was held back for this alone.
                if was_slow {
                    self.output.stirred.insert(session);
                }
            } else if let Some(channel) = client.channel() {
                self.channel_taken(now, channel);
            }
        }
    }

    pub(super) fn client_message(
        &mut self,
        now: Time,
        link: LinkId,
        message: Message,
    ) -> Result<(), Violation> {
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return Ok(());
        };
        let authenticated = matches!(client.state, State::Serving(_));
        match message {
            Message::Authenticate {
                api_key,
                agent,
                durable,
            } if !authenticated => {
                client.state = State::Deciding {
                    until: now.after(self.config.authentication_timeout),
                    durable,
                    early: Early::default(),
                };
                self.output.events.push_back(Event::KeyPresented {
                    link,
                    key: api_key,
                    agent,
                    peer: client.peer,
                });
            }
            _ if !authenticated => {
                return Err(Violation {
                    code: CloseCode::POLICY_VIOLATION,
                    reason: format!("{} before AUTHENTICATE", message.kind()),
                });
            }
            Message::ChannelOpen => self.client_opens(now, link, Start::Greeting),
            Message::ToServer(bytes) => self.client_says(now, link, &bytes),
            Message::ChannelClosed { .. } => self.client_closes(now, link),
            Message::Authenticate { .. } => {
                return Err(Violation {
                    code: CloseCode::PROTOCOL_ERROR,
                    reason: "a second AUTHENTICATE".into(),
                });
            }
            Message::AuthenticateResponse(_)
            | Message::ChannelReady
            | Message::FromServer(_)
            | Message::ChannelError(_) => {
                return Err(Violation {
                    code: CloseCode::PROTOCOL_ERROR,
                    reason: format!("{} is for relays to send", message.kind()),
                });
            }
        }
        Ok(())
    }

    /// The client asks for its channel.
    fn client_opens(&mut self, now: Time, link: LinkId, start: Start) {
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return;
        };
        let State::Serving(Serving { policy, slot }) = &mut client.state else {
            return;
        };
        if matches!(slot, Slot::Taken(_)) {
            let error = "a channel is open already; this relay takes one at a time";
            return client.complain(error, &mut self.output);
        }
        let owner = Owner {
            front: FrontId::Link(link),
            link,
            peer: client.peer,
            policy: Arc::clone(policy),
        };
        let opened = self.open_channel(now, owner, start, None);
        if let Some(client) = self.fronts.clients.get_mut(&link)
            && let State::Serving(serving) = &mut client.state
        {
            match opened {
                Ok(channel) => serving.slot = Slot::Taken(channel),
                Err(refusal) => client.end_channel(refusal, &mut self.output),
            }
        }
    }

    /// The client gets a channel that starts behind EHLO.
    #[cfg(test)]
    pub(super) fn client_starts(&mut self, now: Time, link: LinkId) {
        self.client_opens(now, link, Start::Hello);
        self.settle(now, Some(link));
    }

    /// SMTP bytes from the client. It may not know yet that its channel has ended.
    fn client_says(&mut self, now: Time, link: LinkId, smtp: &Bytes) {
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return;
        };
        match &client.state {
            State::Serving(Serving {
                slot: Slot::Never, ..
            }) => {
                let error = "no channel is open; send SMTP_CHANNEL_OPEN first";
                client.complain(error, &mut self.output);
            }
            _ => {
                if let Some(channel) = client.channel() {
                    self.channel_bytes(now, channel, smtp);
                }
            }
        }
    }

    /// The client closes its channel. Where there is none, the closing has crossed the relay's own.
    fn client_closes(&mut self, now: Time, link: LinkId) {
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return;
        };
        if let Some(channel) = client.channel() {
            client.end_channel(Ending::CLOSED, &mut self.output);
            self.close_channel(now, channel, "the client closed the channel");
            self.channel_has_ended(now, FrontId::Link(link));
        }
    }

    /// Whoever has waited for the channel of a front to end goes on.
    pub(super) fn channel_has_ended(&mut self, now: Time, front: FrontId) {
        match front {
            FrontId::Link(link) if matches!(self.phase, Phase::Draining { .. }) => {
                self.close_client(now, link, CloseCode::SERVICE_RESTART, RESTARTS);
            }
            FrontId::Link(_) | FrontId::Session(_) => {}
        }
    }

    /// Closes a client's link and lets go of its channel.
    pub(super) fn close_client(&mut self, now: Time, link: LinkId, code: CloseCode, reason: &str) {
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return;
        };
        if matches!(client.state, State::Closing { .. }) {
            return;
        }
        let channel = client.channel();
        client.state = State::Closing { why: reason.into() };
        self.strangers.remove(link);
        self.output.actions.push_back(Action::Close {
            link,
            code,
            reason: reason.into(),
        });
        if let Some(channel) = channel {
            self.close_channel(now, channel, reason);
        }
        self.detach_session(now, link);
        self.touched.insert(Timed::Link(link));
    }

    pub(super) fn client_ended(&mut self, now: Time, link: LinkId, why: String) {
        let Some(mut client) = self.fronts.clients.remove(&link) else {
            return;
        };
        self.strangers.remove(link);
        if let Some(account) = &client.account {
            self.usage.holds(account, &mut client.held, 0);
            self.usage.link_ends(account);
        }
        let channel = client.channel();
        let why = match client.state {
            State::Closing { why } => why,
            _ => why,
        };
        if let Some(channel) = channel {
            self.close_channel(now, channel, &why);
        }
        self.detach_session(now, link);
        self.output.events.push_back(Event::Disconnected {
            link,
            why,
            ignored_frames: client.ignored_frames,
        });
    }

    pub(super) fn client_timeout(&mut self, now: Time, link: LinkId) {
        let Some(client) = self.fronts.clients.get_mut(&link) else {
            return;
        };
        client.chatter.handle_timeout(now);
        match client.heartbeat.handle_timeout(now) {
            Some(Pulse::Ping) => {
                let ping = Frame::Ping(Bytes::new());
                client.outgoing.send(ping, &mut self.output);
                // Most links are silent most of the time; what made them fast is made again when they are not.
                if let Some(session) = self.sessions.on_link(link) {
                    self.sessions
                        .update(session, |session, ()| session.release_memory());
                }
            }
            Some(Pulse::Dead) => {
                return self.close_client(now, link, CloseCode::GOING_AWAY, "no sign of life");
            }
            None => {}
        }
        match &client.state {
            State::Refusing { .. } => self.refuse_in_time(now, link),
            State::Unauthenticated { until } if *until <= now => {
                let why = "no AUTHENTICATE in time";
                self.close_client(now, link, AUTHENTICATION_TIMEOUT, why);
            }
            State::Deciding { until, .. } if *until <= now => {
                let why = "the key could not be checked in time";
                self.close_client(now, link, CloseCode::TRY_AGAIN_LATER, why);
            }
            // What waits to be said may have waited for long enough.
            State::Durable(session) => {
                self.output.stirred.insert(*session);
            }
            _ => {}
        }
    }
}
