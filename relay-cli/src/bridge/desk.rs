//! Where mail programs hand in their messages.

use super::users::Users;
use crate::submit::{Budget, Draft, Forwarder, Outcome, Told, no_room};
use ipnet::IpNet;
use relay_proto::{
    LinkId, Time,
    smtp::{
        Credentials, ForwardPath, MailParameters, Reply, ReversePath, Server, ServerEvent, reply,
    },
};
use relay_tokio::{Application, Driver};
use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};
use tokio::{
    sync::{Semaphore, oneshot},
    task::spawn_blocking,
};

/// How many passwords wait to be checked against hashes, or are, at once: one a link.
const MAX_CHECKS: usize = 100;

/// How many of them are checked at once, since each takes a processor, and the memory its hash wants.
const CHECKS_AT_ONCE: usize = 2;

/// Answers the server's questions and gives complete messages to the relay's client.
pub(super) struct Desk {
    driver: Driver<Server, Self>,
    forwarder: Forwarder,
    welcome: Welcome,
    budget: Budget,
    checks: Checks,
    visits: BTreeMap<LinkId, Visit>,
}

/// From whom mail is taken.
#[derive(Debug)]
pub(super) struct Welcome {
    /// Who can log in; none: nobody has to.
    pub(super) users: Option<Arc<Users>>,
    /// From where; empty: from anywhere.
    pub(super) networks: Vec<IpNet>,
}

/// Bounds what checking passwords takes.
#[derive(Clone)]
struct Checks {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// One connection of a mail program.
#[derive(Debug)]
struct Visit {
    peer: Option<IpAddr>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Idle,
    Drafting(Draft),
    /// The message is with the client, which learns from this that the mail program has left.
    Waiting {
        _present: oneshot::Sender<()>,
    },
}

impl Desk {
    pub(super) fn new(
        driver: Driver<Server, Self>,
        forwarder: Forwarder,
        welcome: Welcome,
        budget: Budget,
    ) -> Self {
        Self {
            driver,
            forwarder,
            welcome,
            budget,
            checks: Checks {
                places: Arc::new(Semaphore::new(MAX_CHECKS)),
                turns: Arc::new(Semaphore::new(CHECKS_AT_ONCE)),
            },
            visits: BTreeMap::new(),
        }
    }

    /// Takes an event, and answers it where it is a question that can be answered at once.
    fn handle(&mut self, event: ServerEvent) -> Option<(LinkId, Reply)> {
        match event {
            ServerEvent::Opened { link, peer } => {
                tracing::debug!(%link, ?peer, "mail program connected");
                let stage = Stage::Idle;
                self.visits.insert(link, Visit { peer, stage });
                None
            }
            ServerEvent::Credentials { link, credentials } => {
                let reply = self.log_in(link, credentials)?;
                Some((link, reply))
            }
            ServerEvent::Mail {
                link,
                reverse_path,
                parameters,
            } => Some((link, self.mail(link, reverse_path, &parameters))),
            ServerEvent::Recipient { link, forward_path } => {
                Some((link, self.recipient(link, forward_path)))
            }
            ServerEvent::Content { link, content } => {
                if let Some(Stage::Drafting(draft)) = self.stage(link) {
                    draft.add_content(&content);
                }
                None
            }
            ServerEvent::EndOfContent { link } => {
                let refusal = self.end_of_content(link)?;
                tracing::info!(%link, "message refused: {refusal}");
                Some((link, refusal))
            }
            ServerEvent::Reset { link } => {
                if let Some(stage) = self.stage(link) {
                    *stage = Stage::Idle;
                }
                None
            }
            ServerEvent::Closed { link, why } => {
                tracing::debug!(%link, "mail program gone: {why}");
                self.visits.remove(&link);
                None
            }
            ServerEvent::Refused { count } => {
                tracing::warn!(count, "mail programs sent away");
                None
            }
            _ => None,
        }
    }

    fn stage(&mut self, link: LinkId) -> Option<&mut Stage> {
        self.visits.get_mut(&link).map(|visit| &mut visit.stage)
    }

    /// Who it is: that is all the session has to know, since it lets nobody else in. A hash takes its time, in which others are served.
    fn log_in(&self, link: LinkId, credentials: Credentials) -> Option<Reply> {
        let peer = self.visits.get(&link).and_then(|visit| visit.peer);
        let user = credentials.user_name().to_owned();
        let Some(users) = self.welcome.users.clone() else {
            return Some(verdict(link, peer, &user, false));
        };
        if !users.are_hashed() {
            let known = users.know(&credentials);
            return Some(verdict(link, peer, &user, known));
        }
        let Checks { places, turns } = self.checks.clone();
        let Ok(place) = places.try_acquire_owned() else {
            tracing::warn!(%link, ?peer, user, "login put off: too many at once");
            return Some(reply(454, "4.7.0", "Too many logins at once; try again"));
        };
        let driver = self.driver.clone();
        tokio::spawn(async move {
            let turn = turns.acquire().await;
            let known = spawn_blocking(move || users.know(&credentials)).await;
            drop((turn, place));
            let reply = verdict(link, peer, &user, known.unwrap_or(false));
            // A mail program that has left meanwhile needs no answer.
            let _ = driver
                .call(move |server, _, now| server.respond(now, link, reply))
                .await;
        });
        None
    }

    fn mail(
        &mut self,
        link: LinkId,
        reverse_path: ReversePath,
        parameters: &MailParameters,
    ) -> Reply {
        let Some(visit) = self.visits.get_mut(&link) else {
            return nothing_begun();
        };
        let peer = visit.peer.map(|peer| peer.to_canonical());
        let networks = &self.welcome.networks;
        let is_welcome = |peer| networks.iter().any(|network| network.contains(&peer));
        if !networks.is_empty() && !peer.is_some_and(is_welcome) {
            tracing::warn!(%link, ?peer, "mail refused: not from an allowed network");
            return reply(550, "5.7.1", "Mail is not taken from your network");
        }
        if self.budget.refuses(parameters.size.unwrap_or(1)) {
            tracing::warn!(%link, "mail refused: no room");
            return no_room();
        }
        visit.stage = Stage::Drafting(Draft::new(reverse_path, self.budget.clone()));
        reply(250, "2.1.0", "Sender ok")
    }

    fn recipient(&mut self, link: LinkId, forward_path: ForwardPath) -> Reply {
        let Some(Stage::Drafting(draft)) = self.stage(link) else {
            return nothing_begun();
        };
        draft.add_recipient(forward_path);
        // Whether it is known behind the relay is seen when the message goes there.
        reply(250, "2.1.5", "Recipient ok")
    }

    /// Gives the message to the client, or says why not.
    fn end_of_content(&mut self, link: LinkId) -> Option<Reply> {
        let (present, absent) = oneshot::channel();
        let waiting = Stage::Waiting { _present: present };
        let stage = self.stage(link)?;
        let Stage::Drafting(draft) = std::mem::replace(stage, waiting) else {
            return Some(nothing_begun());
        };
        let (envelope, content, share) = match draft.finish() {
            Ok(message) => message,
            Err(refusal) => return Some(refusal),
        };
        let (forwarder, driver) = (self.forwarder.clone(), self.driver.clone());
        tokio::spawn(async move {
            let (from, recipients) = (
                envelope.reverse_path().clone(),
                envelope.forward_paths().len(),
            );
            let bytes = content.len();
            let gone = async {
                // Nothing is ever sent, so this is an end, and that is the news.
                let _ = absent.await;
            };
            let outcome = forwarder.forward(envelope, content, gone).await;
            drop(share);
            let reply = outcome.reply();
            if reply.is_positive() {
                tracing::info!(%link, %from, recipients, bytes, "message relayed: {reply}");
            } else {
                tracing::warn!(%link, %from, recipients, bytes, "message not relayed: {reply}");
            }
            let answered = driver.call(move |server, _, now| server.respond(now, link, reply));
            if answered.await != Ok(true) {
                tracing::warn!(%link, %from, "the mail program left before it was answered");
            }
            follow_report(outcome).await;
        });
        None
    }
}

fn verdict(link: LinkId, peer: Option<IpAddr>, user: &str, known: bool) -> Reply {
    if known {
        tracing::info!(%link, ?peer, user, "mail program logged in");
        reply(235, "2.7.0", "Authentication successful")
    } else {
        tracing::warn!(%link, ?peer, user, "login refused");
        reply(535, "5.7.8", "Authentication credentials invalid")
    }
}

/// Says what became of the report to a sender, which nobody else will.
async fn follow_report(outcome: Outcome) {
    let Outcome::Partly { told, .. } = outcome else {
        return;
    };
    match told {
        Told::Report(ticket) => match ticket.receipt().await {
            Ok(receipt) => tracing::info!("report to the sender relayed: {}", receipt.reply),
            Err(error) => tracing::error!("report to the sender not relayed: {error}"),
        },
        Told::Nobody => {}
        Told::Failed(error) => tracing::error!("report to the sender not relayed: {error}"),
    }
}

fn nothing_begun() -> Reply {
    reply(503, "5.5.1", "MAIL first")
}

impl Application<Server> for Desk {
    fn handle_event(&mut self, server: &mut Server, now: Time, event: ServerEvent) {
        if let Some((link, reply)) = self.handle(event) {
            // A mail program that has left meanwhile needs no answer.
            server.respond(now, link, reply);
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("visits", &self.visits.len())
            .finish_non_exhaustive()
    }
}
