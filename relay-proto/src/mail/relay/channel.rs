//! Channels: where a client's SMTP session and an upstream meet.

use super::{
    Event, Phase, Policy, RESTARTS, Refused, Relay, RelayConfig,
    client_link::{Channel, ClientLink, OpenChannel, REPLIES_HIGH_WATER, Serving, State},
    output::{Outgoing, Output},
    trouble::Trouble,
    upstream::{Loss, Upstream},
};
use crate::{
    CloseCode, LinkId, Time,
    mail::wire::{ChannelError, Message},
    smtp::{Capabilities, Reply, Request, Security, Session, SessionConfig, Turn, reply},
};
use alloc::{boxed::Box, format, string::String};
use bytes::{Bytes, BytesMut};
use core::{net::IpAddr, time::Duration};

/// The shortest time after which a client may try again what failed for the moment; the longest is twice that.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Commands that are none a client may send on one channel; a program sends none.
const MAX_ERRORS: u32 = 20;

impl Relay {
    /// The client asks for a channel.
    pub(super) fn open_channel(&mut self, now: Time, link: LinkId) {
        let Some(ClientLink {
            outgoing,
            state: State::Serving(Serving { channel, .. }),
            ..
        }) = self.clients.get_mut(&link)
        else {
            return;
        };
        if !matches!(channel, Channel::Never | Channel::Ended) {
            let error = plain_error("a channel is open already; this relay takes one at a time");
            return outgoing.send_message(&error, &mut self.output);
        }
        if self.upstreams.len() >= self.config.max_upstreams {
            let why = "the relay has too many connections to the mail server";
            *channel = Channel::Ended;
            let error = Message::ChannelError(ChannelError {
                error: why.into(),
                code: Some(421),
                retry_after: Some(RETRY_AFTER + self.random.up_to(RETRY_AFTER)),
            });
            outgoing.send_message(&error, &mut self.output);
            let why = why.into();
            let event = Event::ChannelFailed { link, why };
            return self.output.events.push_back(event);
        }
        let id = LinkId::dialled(self.opened_upstreams);
        self.opened_upstreams += 1;
        let upstream = Upstream::open(id, link, &self.config, now, &mut self.output);
        self.upstreams.insert(id, upstream);
        *channel = Channel::Opening {
            upstream: id,
            early: BytesMut::new(),
        };
    }

    /// SMTP bytes from the client.
    pub(super) fn channel_bytes(&mut self, now: Time, link: LinkId, bytes: &Bytes) {
        let Some(ClientLink {
            outgoing,
            state: State::Serving(Serving { channel, .. }),
            ..
        }) = self.clients.get_mut(&link)
        else {
            return;
        };
        match channel {
            Channel::Never => {
                let error = plain_error("no channel is open; send SMTP_CHANNEL_OPEN first");
                outgoing.send_message(&error, &mut self.output);
            }
            Channel::Ended => {}
            Channel::Opening { early, .. } => early.extend_from_slice(bytes),
            Channel::Open(open) => {
                open.session.handle_bytes(bytes);
                let upstream = open.upstream;
                self.drive(now, link, upstream);
            }
        }
    }

    /// The client closes its channel. Where there is none, the closing has crossed the relay's own.
    pub(super) fn channel_closed(&mut self, now: Time, link: LinkId) {
        let client = self.clients.get(&link);
        if client.is_some_and(|client| client.upstream().is_some()) {
            let answer = Message::ChannelClosed { reason: None };
            self.end_channel(now, link, "the client closed the channel", &answer);
        }
    }

    /// The upstream has greeted: the session begins.
    pub(super) fn channel_ready(&mut self, now: Time, link: LinkId) {
        let Some(ClientLink {
            outgoing,
            state: State::Serving(Serving { policy, channel }),
            ..
        }) = self.clients.get_mut(&link)
        else {
            return;
        };
        let Channel::Opening {
            upstream: id,
            early,
        } = channel
        else {
            return;
        };
        let Some(upstream) = self.upstreams.get(id) else {
            return;
        };
        let config = session_config(&self.config, policy, upstream.capabilities());
        let mut session = Session::new(config);
        session.greet(reply(220, "", format!("{} ESMTP", self.config.host_name)));
        session.handle_bytes(early);
        *channel = Channel::Open(Box::new(OpenChannel {
            upstream: *id,
            session,
            active: now,
        }));
        outgoing.send_message(&Message::ChannelReady, &mut self.output);
        self.output.events.push_back(Event::ChannelOpened { link });
    }

    /// The upstream has answered what the client asked for.
    pub(super) fn channel_reply(&mut self, link: LinkId, upstream: LinkId, reply: Reply) {
        if let Some(open) = self
            .clients
            .get_mut(&link)
            .and_then(ClientLink::open_channel)
            && open.upstream == upstream
        {
            open.session.respond(reply);
        }
    }

    /// Lets session and upstream work until one of them has to wait.
    pub(super) fn drive(&mut self, now: Time, link: LinkId, upstream: LinkId) {
        let Some(ClientLink {
            peer,
            outgoing,
            state:
                State::Serving(Serving {
                    policy,
                    channel: Channel::Open(open),
                }),
            ..
        }) = self.clients.get_mut(&link)
        else {
            return;
        };
        if open.upstream != upstream {
            return;
        }
        open.active = now;
        let ended = Exchange {
            link,
            peer: *peer,
            policy,
            outgoing,
            session: &mut open.session,
            upstream: self.upstreams.get_mut(&upstream),
            config: &self.config,
            now,
            output: &mut self.output,
        }
        .run();
        if ended {
            let answer = Message::ChannelClosed { reason: None };
            self.end_channel(now, link, "the session ended", &answer);
        }
    }

    pub(super) fn channel_timeout(&mut self, now: Time, link: LinkId) {
        let Some(client) = self.clients.get_mut(&link) else {
            return;
        };
        let waits = client
            .upstream()
            .and_then(|id| self.upstreams.get(&id))
            .is_none_or(Upstream::waits_for_client);
        if let Some(open) = client.open_channel()
            && waits
            && open.session.turn() != Turn::Owner
            && open.active.after(self.config.channel_idle_timeout) <= now
        {
            open.session
                .close(reply(421, "4.4.2", "Idle for too long, closing"));
            let upstream = open.upstream;
            self.drive(now, link, upstream);
        }
    }

    /// The channel has lost its upstream.
    pub(super) fn channel_lost(&mut self, now: Time, link: LinkId, loss: Loss, trouble: &Trouble) {
        let server = format!("the mail server {} {trouble}", self.config.upstream);
        let retry_after = Some(RETRY_AFTER + self.random.up_to(RETRY_AFTER));
        let refusal = match trouble {
            Trouble::Refused(reply) => Some(reply),
            _ => None,
        };
        let (last_reply, farewell) = match loss {
            Loss::Nothing => return,
            Loss::NotOpened => {
                let permanent = refusal.is_some_and(Reply::is_permanent);
                let error = ChannelError {
                    error: server,
                    code: Some(refusal.map_or(421, |reply| reply.code().as_u16())),
                    retry_after: retry_after.filter(|_| !permanent),
                };
                (None, Message::ChannelError(error))
            }
            Loss::BetweenCommands if refusal.is_none() => {
                let error = ChannelError {
                    error: server,
                    code: Some(421),
                    retry_after,
                };
                (None, Message::ChannelError(error))
            }
            Loss::BetweenCommands | Loss::Unanswered => {
                let text = format!("Nothing was delivered: {server}");
                let last_reply = refusal
                    .cloned()
                    .unwrap_or_else(|| reply(451, "4.4.2", text));
                let reason = Some(server);
                (Some(last_reply), Message::ChannelClosed { reason })
            }
            Loss::InDoubt => {
                let unknown = "after the end of the message; whether it is delivered is unknown";
                (None, plain_error(format!("{server} {unknown}")))
            }
        };
        let Some(client) = self.clients.get_mut(&link) else {
            return;
        };
        if let Some(open) = client.open_channel()
            && let Some(said) = open.session.poll_output()
        {
            client.outgoing.send_smtp(&said, &mut self.output);
        }
        if let Some(last_reply) = last_reply {
            let bytes = last_reply.to_bytes();
            client.outgoing.send_smtp(&bytes, &mut self.output);
        }
        let why = trouble.detail();
        self.end_channel(now, link, &why, &farewell);
        self.output
            .events
            .push_back(Event::ChannelFailed { link, why });
    }

    /// Ends the channel with a last message to the client.
    fn end_channel(&mut self, now: Time, link: LinkId, why: &str, farewell: &Message) {
        let Some(client) = self.clients.get_mut(&link) else {
            return;
        };
        let upstream = client.upstream();
        let State::Serving(serving) = &mut client.state else {
            return;
        };
        serving.channel = Channel::Ended;
        client.outgoing.send_message(farewell, &mut self.output);
        self.retire_upstream(now, upstream, why);
        if matches!(self.phase, Phase::Draining { .. }) {
            self.close_client(now, link, CloseCode::SERVICE_RESTART, RESTARTS);
        }
    }
}

/// Session and upstream of one channel, at work.
struct Exchange<'a> {
    link: LinkId,
    peer: Option<IpAddr>,
    policy: &'a Policy,
    outgoing: &'a mut Outgoing,
    session: &'a mut Session,
    /// Gone where the session outlives it: to swallow content that is too large, and to say goodbye.
    upstream: Option<&'a mut Upstream>,
    config: &'a RelayConfig,
    now: Time,
    output: &'a mut Output,
}

impl Exchange<'_> {
    /// Returns whether the session has ended.
    fn run(mut self) -> bool {
        loop {
            let ready = self.outgoing.bytes() <= REPLIES_HIGH_WATER
                && self
                    .upstream
                    .as_ref()
                    .is_none_or(|upstream| upstream.is_ready());
            let request = if ready {
                self.session.poll_request()
            } else {
                None
            };
            let said = self.session.poll_output();
            if let Some(said) = &said {
                self.outgoing.send_smtp(said, self.output);
            }
            if self.session.is_closed() {
                return true;
            }
            match request {
                Some(request) => self.serve(request),
                // A session with much to say waits until that is taken.
                None if ready && said.is_some() => {}
                None => return false,
            }
        }
    }

    fn serve(&mut self, request: Request) {
        let (config, now) = (self.config, self.now);
        let taken = match request {
            Request::Mail {
                reverse_path,
                parameters,
            } => {
                if let Err(reply) = self.policy.check_sender(&reverse_path, self.peer) {
                    return self.refuse(Refused::Sender(reverse_path), reply);
                }
                self.upstream.as_mut().is_some_and(|upstream| {
                    upstream.mail(reverse_path, parameters, config, now, self.output)
                })
            }
            Request::Recipient(forward_path) => {
                if let Err(reply) = self.policy.check_recipient(&forward_path) {
                    return self.refuse(Refused::Recipient(forward_path), reply);
                }
                self.upstream.as_mut().is_some_and(|upstream| {
                    upstream.recipient(forward_path, config, now, self.output)
                })
            }
            Request::Data => self
                .upstream
                .as_mut()
                .is_some_and(|upstream| upstream.data(config, now, self.output)),
            Request::Content(content) => {
                if let Some(upstream) = &mut self.upstream {
                    upstream.content(&content, config, now, self.output);
                }
                true
            }
            Request::EndOfContent => self
                .upstream
                .as_mut()
                .is_some_and(|upstream| upstream.end_of_content(config, now, self.output)),
            Request::Reset => {
                // A session that is over lets go of the upstream altogether.
                if self.session.turn() != Turn::Over
                    && let Some(upstream) = &mut self.upstream
                {
                    upstream.reset(config, now, self.output);
                }
                true
            }
            Request::Quit => true,
            // Not asked by a session that offers neither AUTH nor STARTTLS.
            Request::Credentials(_) | Request::StartTls => false,
        };
        if !taken {
            let text = "The mail server is gone; open another channel";
            self.session.respond(reply(421, "4.4.2", text));
        }
    }

    fn refuse(&mut self, refused: Refused, reply: Reply) {
        self.output.events.push_back(Event::MessageRefused {
            link: self.link,
            refused,
            reply: reply.clone(),
        });
        self.session.respond(reply);
    }
}

/// What the client may use: what both the relay and this upstream carry.
fn session_config(config: &RelayConfig, policy: &Policy, upstream: &Capabilities) -> SessionConfig {
    let limits = [policy.max_message_bytes, upstream.max_message_bytes()];
    SessionConfig {
        host_name: config.host_name.clone(),
        capabilities: Capabilities {
            pipelining: true,
            eight_bit_mime: upstream.eight_bit_mime,
            smtputf8: upstream.smtputf8,
            enhanced_status_codes: upstream.enhanced_status_codes,
            ..Capabilities::default()
        },
        require_hello: false,
        max_recipients: policy.max_recipients,
        max_message_bytes: limits.into_iter().flatten().min(),
        max_errors: MAX_ERRORS,
        // The client has shown its key, and the link is what protects the channel.
        authentication: None,
        security: Security::Clear,
    }
}

fn plain_error(error: impl Into<String>) -> Message {
    Message::ChannelError(ChannelError {
        error: error.into(),
        code: None,
        retry_after: None,
    })
}
