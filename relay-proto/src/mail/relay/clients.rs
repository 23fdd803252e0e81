//! What clients do to the relay: come, speak, take, fall silent, go.

use super::{
    Phase, RESTARTS, Relay,
    client_link::{ClientLink, Early, State},
    event::Event,
};
use crate::{
    Action, CloseCode, Frame, LinkId, Time,
    link::Pulse,
    mail::wire::{AUTHENTICATION_TIMEOUT, Message, Violation, decode},
};
use alloc::{format, string::String};
use bytes::Bytes;
use core::net::IpAddr;

impl Relay {
    pub(super) fn accept(&mut self, now: Time, link: LinkId, peer: Option<IpAddr>) {
        if self.clients.contains_key(&link) {
            return;
        }
        let refusal = if matches!(self.phase, Phase::Draining { .. }) {
            Some((CloseCode::SERVICE_RESTART, RESTARTS))
        } else if self.clients.len() >= self.config.max_links {
            Some((CloseCode::TRY_AGAIN_LATER, "too many links"))
        } else if self.undecided.len() >= self.config.max_unauthenticated_links {
            let why = "too many links that are not authenticated";
            Some((CloseCode::TRY_AGAIN_LATER, why))
        } else {
            None
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
        self.clients.insert(link, client);
        self.undecided.insert(link);
        self.output
            .events
            .push_back(Event::Connected { link, peer });
    }

    pub(super) fn client_frame(&mut self, now: Time, link: LinkId, frame: &Frame) {
        let Some(client) = self.clients.get_mut(&link) else {
            return;
        };
        client.heartbeat.heard(now);
        if matches!(frame, Frame::Ping(_) | Frame::Pong(_)) {
            return;
        }
        let read = if frame.len() > client.frame_limit() {
            Err(Violation {
                code: CloseCode::MESSAGE_TOO_BIG,
                reason: format!("frames have up to {} bytes here", client.frame_limit()),
            })
        } else {
            match &mut client.state {
                State::Closing { .. } => return,
                State::Deciding { early, .. } => early.push(frame.clone()).map(|()| None),
                State::Unauthenticated { .. } | State::Serving(_) => {
                    decode(frame).inspect(|message| {
                        client.ignored_frames += u64::from(message.is_none());
                    })
                }
            }
        };
        let handled = read.and_then(|message| match message {
            Some(message) => self.client_message(now, link, message),
            None => Ok(()),
        });
        if let Err(violation) = handled {
            self.close_client(now, link, violation.code, &violation.reason);
            self.output
                .events
                .push_back(Event::Violation { link, violation });
        }
    }

    /// The oldest frame to a client has left. Content that leaves is a sign of life, a ping, which is empty, is not.
    pub(super) fn client_written(&mut self, now: Time, link: LinkId) {
        if let Some(client) = self.clients.get_mut(&link)
            && client.outgoing.written() > 0
        {
            client.heartbeat.heard(now);
            if let Some(upstream) = client.upstream() {
                self.drive(now, link, upstream);
            }
        }
    }

    pub(super) fn client_message(
        &mut self,
        now: Time,
        link: LinkId,
        message: Message,
    ) -> Result<(), Violation> {
        let Some(client) = self.clients.get_mut(&link) else {
            return Ok(());
        };
        let authenticated = matches!(client.state, State::Serving(_));
        match message {
            Message::Authenticate { api_key, agent, .. } if !authenticated => {
                client.state = State::Deciding {
                    until: now.after(self.config.authentication_timeout),
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
            Message::ChannelOpen => self.open_channel(now, link),
            Message::ToServer(bytes) => self.channel_bytes(now, link, &bytes),
            Message::ChannelClosed { .. } => self.channel_closed(now, link),
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

    /// Closes a client's link and lets go of its channel.
    pub(super) fn close_client(&mut self, now: Time, link: LinkId, code: CloseCode, reason: &str) {
        let Some(client) = self.clients.get_mut(&link) else {
            return;
        };
        if matches!(client.state, State::Closing { .. }) {
            return;
        }
        let upstream = client.upstream();
        client.state = State::Closing { why: reason.into() };
        self.undecided.remove(&link);
        self.output.actions.push_back(Action::Close {
            link,
            code,
            reason: reason.into(),
        });
        self.retire_upstream(now, upstream, reason);
        self.touched.push(link);
    }

    pub(super) fn client_ended(&mut self, now: Time, link: LinkId, why: String) {
        let Some(client) = self.clients.remove(&link) else {
            return;
        };
        self.undecided.remove(&link);
        let upstream = client.upstream();
        let why = match client.state {
            State::Closing { why } => why,
            _ => why,
        };
        self.retire_upstream(now, upstream, &why);
        self.output.events.push_back(Event::Disconnected {
            link,
            why,
            ignored_frames: client.ignored_frames,
        });
    }

    pub(super) fn client_timeout(&mut self, now: Time, link: LinkId) {
        let Some(client) = self.clients.get_mut(&link) else {
            return;
        };
        match client.heartbeat.handle_timeout(now) {
            Some(Pulse::Ping) => {
                let ping = Frame::Ping(Bytes::new());
                client.outgoing.send(ping, &mut self.output);
            }
            Some(Pulse::Dead) => {
                return self.close_client(now, link, CloseCode::GOING_AWAY, "no sign of life");
            }
            None => {}
        }
        match &client.state {
            State::Unauthenticated { until } if *until <= now => {
                let why = "no AUTHENTICATE in time";
                self.close_client(now, link, AUTHENTICATION_TIMEOUT, why);
            }
            State::Deciding { until, .. } if *until <= now => {
                let why = "the key could not be checked in time";
                self.close_client(now, link, CloseCode::TRY_AGAIN_LATER, why);
            }
            State::Serving(_) => self.channel_timeout(now, link),
            _ => {}
        }
    }
}
