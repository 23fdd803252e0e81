//! The session and the upstream of one channel, at work.

use super::{
    Event, Policy, Refused, RelayConfig,
    channel::{ChannelId, Mail, Message, Owner},
    front::Front,
    output::Output,
    rates::Rates,
    transaction::Answer,
    upstream::Upstream,
};
use crate::{
    Time,
    smtp::{Ahead, ForwardPath, Reply, Request, Session, Turn, reply},
};
use alloc::format;

/// How many refused recipients of a message are remembered with their replies at least.
const MAX_REJECTED: usize = 1000;

/// Carries requests from a session to the upstream.
pub(super) struct Exchange<'a> {
    pub(super) channel: ChannelId,
    pub(super) owner: &'a Owner,
    pub(super) front: &'a mut dyn Front,
    pub(super) session: &'a mut Session,
    pub(super) mail: &'a mut Option<Mail>,
    /// In the durable dialect: the delivery it is for.
    pub(super) message: Option<&'a mut Message>,
    /// Gone where the session outlives it: to swallow content that is too large, and to say goodbye.
    pub(super) upstream: Option<&'a mut Upstream>,
    pub(super) config: &'a RelayConfig,
    pub(super) rates: &'a mut Rates,
    pub(super) now: Time,
    pub(super) output: &'a mut Output,
}

/// Why session and upstream do not go on.
pub(super) enum Pause {
    /// One of them waits for its peer.
    Waits,
    /// The session has all of a message whose end must not be forwarded before that is written down.
    IsComplete,
    /// The session has a message and no connection to take it.
    NoUpstream,
    /// The session has ended.
    Ended,
}

impl Exchange<'_> {
    /// Works until session or upstream has to wait.
    pub(super) fn run(mut self) -> Pause {
        self.forward_mail();
        let mut has_said = false;
        loop {
            let ready = self.front.has_room(self.channel)
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
                self.front.say(self.channel, said, self.output);
                has_said = true;
            }
            if self.session.is_closed() {
                return Pause::Ended;
            }
            match request {
                Some(Request::EndOfContent) if self.message.is_some() => return Pause::IsComplete,
                Some(request) => self.serve(request),
                // A session with much to say waits until that is taken.
                None if ready && said.is_some() => {}
                None if self.mail.is_some() && !self.is_forwarded() => return Pause::NoUpstream,
                None => {
                    if has_said && self.session.turn() != Turn::Owner {
                        self.front.awaits_client(self.output);
                    }
                    return Pause::Waits;
                }
            }
        }
    }

    /// Whether the upstream has been told of the message.
    fn is_forwarded(&self) -> bool {
        let upstream = self.upstream.as_deref();
        upstream.is_some_and(|upstream| !upstream.is_at_rest() && !upstream.is_leaving())
    }

    /// Says MAIL to the upstream, where there is one that takes another message.
    fn forward_mail(&mut self) {
        let (Some(mail), Some(upstream)) = (&*self.mail, &mut self.upstream) else {
            return;
        };
        if !upstream.is_at_rest() || upstream.is_worn(self.config, self.now) {
            return;
        }
        if let Some(reply) = upstream.refusal(&mail.parameters) {
            let refused = Refused::Sender(mail.reverse_path.clone());
            *self.mail = None;
            return self.refuse(refused, reply);
        }
        let said = ahead(
            self.session,
            &self.owner.policy,
            self.message.as_deref(),
            upstream,
        );
        upstream.mail(mail.clone(), said, self.config, self.now, self.output);
    }

    fn serve(&mut self, request: Request) {
        let (config, now) = (self.config, self.now);
        let answer = match request {
            Request::Mail {
                reverse_path,
                parameters,
            } => {
                if let Some(message) = &mut self.message {
                    message.begin();
                }
                let policy = &self.owner.policy;
                if let Err(reply) = policy.check_sender(&reverse_path, self.owner.peer) {
                    return self.refuse(Refused::Sender(reverse_path), reply);
                }
                if let Err(reply) = self.check_rate() {
                    return self.refuse(Refused::Sender(reverse_path), reply);
                }
                *self.mail = Some(Mail {
                    reverse_path,
                    parameters,
                });
                return self.forward_mail();
            }
            Request::Recipient(forward_path) => {
                if self.names_too_many() {
                    let text = "Too many recipients were refused, closing";
                    let refused = Refused::Recipient(forward_path);
                    return self.refuse(refused, reply(421, "4.5.3", text));
                }
                if let Err(reply) = self.check_recipient(&forward_path) {
                    if let Some(message) = &mut self.message {
                        message.recipient(forward_path.clone(), &reply);
                    }
                    return self.refuse(Refused::Recipient(forward_path), reply);
                }
                if let Some(message) = &mut self.message {
                    message.asked = Some(forward_path.clone());
                }
                let answer = self.upstream.as_mut().map(|upstream| {
                    let message = self.message.as_deref();
                    let said = ahead(self.session, &self.owner.policy, message, upstream);
                    upstream.recipient(forward_path, said, config, now, self.output)
                });
                if let Some(message) = &mut self.message
                    && let Some(Answer::Now(reply)) = &answer
                    && let Some(recipient) = message.asked.take()
                {
                    message.recipient(recipient, reply);
                }
                answer
            }
            Request::Data => {
                let upstream = self.upstream.as_mut();
                upstream.map(|upstream| upstream.data(config, now, self.output))
            }
            Request::EndOfContent => {
                let upstream = self.upstream.as_mut();
                upstream.map(|upstream| upstream.end_of_content(config, now, self.output))
            }
            Request::Content(content) => {
                if let Some(upstream) = &mut self.upstream {
                    upstream.content(&content, config, now, self.output);
                }
                return;
            }
            Request::Reset => {
                // A session that is over lets go of the upstream altogether.
                if self.session.turn() != Turn::Over
                    && let Some(upstream) = &mut self.upstream
                {
                    upstream.reset(config, now, self.output);
                }
                return;
            }
            Request::Quit => return,
            // Not asked by a session that offers neither AUTH nor STARTTLS.
            Request::Credentials(_) | Request::StartTls => None,
        };
        match answer.unwrap_or(Answer::Never) {
            Answer::Later => {}
            Answer::Now(reply) => self.session.respond(reply),
            Answer::Never => {
                let text = "The mail server is gone; open another channel";
                self.session.respond(reply(421, "4.4.2", text));
            }
        }
    }

    /// In the durable dialect the message was counted when its channel was opened.
    fn check_rate(&mut self) -> Result<(), Reply> {
        let policy = &self.owner.policy;
        let Some(rate) = policy.rate.filter(|_| self.message.is_none()) else {
            return Ok(());
        };
        let taken = self.rates.take(self.now, &policy.account, rate);
        taken.map_err(|wait| {
            let text = format!(
                "This API key sends more messages than {rate}; the next may come in {wait:?}"
            );
            reply(450, "4.7.1", text)
        })
    }

    /// In the durable dialect each recipient that is one too many has to be known by name, so the session is not asked to count.
    fn check_recipient(&self, forward_path: &ForwardPath) -> Result<(), Reply> {
        let policy = &self.owner.policy;
        policy.check_recipient(forward_path)?;
        match &self.message {
            Some(message) if message.accepted >= policy.max_recipients => {
                Err(reply(452, "4.5.3", "Too many recipients"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the names that are to be told with the outcome are more than anybody means to send to.
    fn names_too_many(&self) -> bool {
        let most = self.owner.policy.max_recipients.max(MAX_REJECTED);
        let rejected = self.message.as_ref().map(|message| message.rejected.len());
        rejected.is_some_and(|rejected| rejected >= most)
    }

    fn refuse(&mut self, refused: Refused, reply: Reply) {
        self.output.events.push_back(Event::MessageRefused {
            link: self.owner.link,
            refused,
            reply: reply.clone(),
        });
        self.session.respond(reply);
    }
}

/// What the client has said behind the request at hand, as far as this upstream may hear it already.
fn ahead<'a>(
    session: &'a Session,
    policy: &'a Policy,
    message: Option<&Message>,
    upstream: &Upstream,
) -> impl Iterator<Item = Ahead> + use<'a> {
    // With the one at hand; what lies behind the last that may come is decided when it is known which were accepted.
    let mut room = match message {
        Some(message) => {
            let at_hand = usize::from(message.asked.is_some());
            policy
                .max_recipients
                .saturating_sub(message.accepted + at_hand)
        }
        None => usize::MAX,
    };
    let said = upstream.is_pipelining().then(|| session.ahead());
    let allowed = said.into_iter().flatten().filter(|said| match said {
        Ahead::Recipient(forward_path) => policy.check_recipient(forward_path).is_ok(),
        Ahead::Content => true,
    });
    allowed.take_while(move |said| match said {
        Ahead::Recipient(_) if room == 0 => false,
        Ahead::Recipient(_) => {
            room -= 1;
            true
        }
        Ahead::Content => true,
    })
}
