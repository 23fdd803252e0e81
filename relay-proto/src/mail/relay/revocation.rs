//! Keys that are taken away while their clients are in.

use super::{Event, Relay, client_link::State};
use crate::{
    LinkId, Time,
    mail::wire::{AUTHENTICATION_REFUSED, Denied},
    session::SessionId,
};
use alloc::vec::Vec;

const TAKEN_AWAY: &str = "the API key is no longer good";

impl Relay {
    /// Ends everything that goes on for an account, because its key is taken away: its links are closed with 4001, its sessions are
    /// gone, and what it has under way ends as by a lost client. So what is not past its end of data is abandoned, and
    /// what is past it goes on to its outcome, which the ledger keeps.
    ///
    /// Whoever has presented a key that is not decided on yet is asked to come again, since the decision may be older than this.
    /// That the key is denied from now on is for the application to see to, first.
    pub fn revoke(&mut self, now: Time, account: &str) {
        let sessions = self.fronts.sessions.iter();
        let sessions: Vec<SessionId> = sessions
            .filter(|(_, front)| front.policy.account == account)
            .map(|(id, _)| *id)
            .collect();
        let clients = self.fronts.clients.iter();
        let links: Vec<LinkId> = clients
            .filter(|(_, client)| {
                client.account.as_deref() == Some(account)
                    && !matches!(client.state, State::Closing { .. })
            })
            .map(|(link, _)| *link)
            .collect();
        for session in sessions {
            self.end_session(now, session, AUTHENTICATION_REFUSED, TAKEN_AWAY);
        }
        for link in links {
            self.close_client(now, link, AUTHENTICATION_REFUSED, TAKEN_AWAY);
            let error = TAKEN_AWAY.into();
            self.output
                .events
                .push_back(Event::AuthenticationRefused { link, error });
        }
        self.decide_again(now);
        self.settle(now, None);
    }

    fn decide_again(&mut self, now: Time) {
        let clients = self.fronts.clients.iter();
        let undecided: Vec<LinkId> = clients
            .filter(|(_, client)| matches!(client.state, State::Deciding { .. }))
            .map(|(link, _)| *link)
            .collect();
        for link in undecided {
            let denied = Denied {
                error: "API keys have just changed; come again".into(),
                retry_after: Some(self.retry_after()),
                permanent: Some(false),
            };
            self.refuse_at(now, link, denied, now);
        }
    }
}
