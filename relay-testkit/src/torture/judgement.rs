//! Who knows what must be true of every message, and what has become of it.

use super::{
    message::{self, Reception},
    report::Report,
};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

/// How a message ended, as the client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    Failed,
    InDoubt,
}

#[derive(Default)]
struct Message {
    submitted: Option<Duration>,
    /// The client has taken responsibility.
    accepted: bool,
    /// It is in the outbox the present client has found.
    found: bool,
    arrived: u32,
    /// How often the mail server has refused it.
    refused: u32,
    verdict: Option<Verdict>,
    /// The last sending, as the mail server sees it: when it began, when it was there whole, and when that was answered.
    begun: Option<Duration>,
    whole: Option<Duration>,
    answered: Option<Duration>,
    story: Vec<(Duration, String)>,
}

/// Everything that is known.
pub(super) struct State {
    seed: u64,
    pub(super) now: Duration,
    messages: Vec<Message>,
    /// What was done to everybody.
    faults: Vec<(Duration, String)>,
    relay_kills: Vec<Duration>,
    broken: Option<(Option<u64>, String)>,
    /// How many messages may be submitted by now.
    allowed: u64,
    /// The client can be told what to submit.
    ready: bool,
    /// What it is to be told next.
    waiting: BTreeSet<u64>,
    /// Goes up with whatever goes on.
    pub(super) progress: u64,
    pub(super) progressed: Duration,
    pub(super) ended: u64,
    /// Whether the mail server sends everybody away.
    pub(super) server_is_away: bool,
    /// What the client has refused since its disk became full.
    refused: BTreeSet<u64>,
    /// Whether the disk of this client was full.
    may_refuse: bool,
    /// Where the relay listens, while it does.
    pub(super) relay: Option<SocketAddr>,
    found: u64,
    told_again: u64,
    untold: u64,
}

impl State {
    pub(super) fn new(seed: u64, messages: u64) -> Self {
        Self {
            seed,
            now: Duration::ZERO,
            messages: (0..messages).map(|_| Message::default()).collect(),
            faults: Vec::new(),
            relay_kills: Vec::new(),
            broken: None,
            allowed: 0,
            ready: false,
            waiting: BTreeSet::new(),
            progress: 0,
            progressed: Duration::ZERO,
            ended: 0,
            server_is_away: false,
            refused: BTreeSet::new(),
            may_refuse: false,
            relay: None,
            found: 0,
            told_again: 0,
            untold: 0,
        }
    }

    /// The first promise that is broken is the one that is told.
    pub(super) fn broken(&mut self, number: Option<u64>, what: String) {
        self.broken.get_or_insert((number, what));
    }

    fn check(&mut self, number: u64, holds: bool, what: &str) {
        if !holds {
            self.broken(Some(number), format!("message {number} {what}"));
        }
    }

    fn note(&mut self, number: u64, what: impl Into<String>) {
        let now = self.now;
        if let Some(message) = self.messages.get_mut(number as usize) {
            message.story.push((now, what.into()));
        } else {
            self.broken(None, format!("message {number} was never submitted"));
        }
    }

    fn message(&mut self, number: u64) -> &mut Message {
        &mut self.messages[number as usize]
    }

    fn goes_on(&mut self) {
        self.progress += 1;
        self.progressed = self.now;
    }

    // ---- what is done ----

    /// So many messages may be submitted from now on.
    pub(super) fn allow(&mut self, allowed: u64) {
        if self.ready {
            self.waiting.extend(self.allowed..allowed);
        }
        self.allowed = self.allowed.max(allowed);
    }

    /// What the client is to be told to submit now.
    pub(super) fn submit(&mut self) -> Vec<u64> {
        let numbers: Vec<u64> = std::mem::take(&mut self.waiting).into_iter().collect();
        for &number in &numbers {
            self.note(number, "is submitted");
            let now = self.now;
            self.message(number).submitted.get_or_insert(now);
        }
        numbers
    }

    /// Everything that may be submitted has its end.
    pub(super) const fn is_idle(&self) -> bool {
        self.ended == self.allowed
    }

    /// The client has read its outbox, and the relay listens.
    pub(super) const fn both_run(&self) -> bool {
        self.ready && self.relay.is_some()
    }

    pub(super) fn fault(&mut self, what: &str) {
        self.faults.push((self.now, what.to_owned()));
    }

    /// The relay is about to be killed.
    pub(super) fn relay_killed(&mut self) {
        self.fault("the relay is killed");
        self.relay_kills.push(self.now);
        self.relay = None;
    }

    /// The client is dead, and all it has said is heard.
    pub(super) fn client_killed(&mut self) {
        self.fault("the client is killed");
        self.ready = false;
        self.may_refuse = false;
        self.waiting.clear();
        self.refused.clear();
        for message in &mut self.messages {
            message.found = false;
        }
    }

    /// The client's disk is about to be full.
    pub(super) fn client_may_refuse(&mut self) {
        self.may_refuse = true;
    }

    // ---- the client ----

    pub(super) fn client_says(&mut self, line: &str) {
        if line == "ready" {
            return self.client_ready();
        }
        if line == "recovered" {
            self.waiting.append(&mut self.refused);
            return;
        }
        let mut words = line.splitn(3, ' ');
        let (word, number) = (words.next().unwrap_or_default(), words.next());
        let number = number.and_then(|number| number.parse::<u64>().ok());
        let why = words.next().unwrap_or_default();
        let Some(number) = number.filter(|number| *number < self.messages.len() as u64) else {
            return self.broken(None, format!("the client says {line:?}"));
        };
        self.note(number, format!("client: {word} {why}"));
        match word {
            "found" => self.client_found(number),
            "accepted" => {
                let first = !std::mem::replace(&mut self.message(number).accepted, true);
                self.check(number, first, "is accepted twice");
            }
            "refused" => self.client_refuses(number, why),
            "processed" => self.client_ended(number, Verdict::Delivered),
            "failed" => self.client_ended(number, Verdict::Failed),
            "doubt" => self.client_ended(number, Verdict::InDoubt),
            _ => self.check(number, false, &format!("is {word}: {why}")),
        }
        self.goes_on();
    }

    fn client_refuses(&mut self, number: u64, why: &str) {
        // Behind a full disk the file is opened anew, which takes a descriptor.
        let is_clear = why.contains("room") || why.contains("Too many open files");
        let is_true = self.may_refuse && is_clear;
        self.check(number, is_true, &format!("is refused: {why}"));
        let was_accepted = self.message(number).accepted;
        self.check(number, !was_accepted, "is refused and was accepted");
        self.refused.insert(number);
    }

    fn client_found(&mut self, number: u64) {
        self.found += 1;
        let message = self.message(number);
        let is_first = !std::mem::replace(&mut message.found, true);
        // Its acceptance was written down and not told any more.
        message.accepted = true;
        let was_submitted = message.submitted.is_some();
        self.check(number, is_first, "is in the outbox twice");
        self.check(
            number,
            was_submitted,
            "is in the outbox and was never submitted",
        );
    }

    /// The client has found all there is in its outbox: what it had accepted and not ended, and nothing less.
    fn client_ready(&mut self) {
        self.fault("the client is ready");
        self.ready = true;
        for number in 0..self.allowed {
            let message = &self.messages[number as usize];
            if !message.accepted {
                self.waiting.insert(number);
            } else if message.verdict.is_none() && !message.found {
                // It has ended, and the client was killed between the disk's word and its own.
                let is_settled = message.arrived > 0;
                self.check(
                    number,
                    is_settled,
                    "was accepted, and is neither in the outbox nor ended",
                );
                self.untold += 1;
                self.message(number).verdict = Some(Verdict::Delivered);
                self.ended += 1;
            }
        }
    }

    fn client_ended(&mut self, number: u64, verdict: Verdict) {
        let reception = message::reception(self.seed, number);
        let message = self.message(number);
        let (arrived, refused, accepted) = (message.arrived, message.refused, message.accepted);
        let (before, found) = (message.verdict.replace(verdict), message.found);
        let submitted = message.submitted;
        self.check(number, accepted, "has ended and was never accepted");
        match before {
            None => self.ended += 1,
            // The client was killed between its word and the disk's.
            Some(before) => {
                self.told_again += 1;
                self.check(number, found, "has ended twice in one life of the client");
                let what = format!("has ended as {before:?}, and then as {verdict:?}");
                self.check(number, before == verdict, &what);
            }
        }
        match verdict {
            Verdict::Delivered => self.check(
                number,
                arrived > 0,
                "is said to be delivered and never arrived",
            ),
            Verdict::Failed => {
                self.check(
                    number,
                    arrived == 0,
                    "is said to have failed and has arrived",
                );
                let is_true = refused > 0 && reception == Reception::Refused;
                self.check(number, is_true, "has failed, and nobody has refused it");
            }
            Verdict::InDoubt => {
                let mut kills = self.relay_kills.iter();
                let is_true = kills.any(|at| Some(*at) >= submitted);
                self.check(
                    number,
                    is_true,
                    "is in doubt, and no relay was killed since it was submitted",
                );
            }
        }
    }

    // ---- the mail server ----

    pub(super) fn begun(&mut self, number: u64) {
        self.note(number, "server: MAIL");
        if number < self.messages.len() as u64 {
            let now = self.now;
            let message = self.message(number);
            message.begun = Some(now);
            (message.whole, message.answered) = (None, None);
        }
    }

    /// The server has it whole; how often it has refused it before.
    pub(super) fn arrives(&mut self, number: u64, content: &[u8]) -> u32 {
        self.note(number, "server: end of data");
        let is_whole = content == message::content(self.seed, number);
        self.check(number, is_whole, "has arrived as something else");
        let now = self.now;
        let Some(message) = self.messages.get_mut(number as usize) else {
            return 0;
        };
        message.whole = Some(now);
        message.refused
    }

    pub(super) fn refused(&mut self, number: u64) {
        self.note(number, "server: refused");
        let now = self.now;
        let message = self.message(number);
        message.refused += 1;
        message.answered = Some(now);
        self.goes_on();
    }

    /// The server has taken it.
    pub(super) fn taken(&mut self, number: u64) {
        self.note(number, "server: taken");
        let message = self.message(number);
        message.arrived += 1;
        let (arrived, verdict) = (message.arrived, message.verdict);
        self.check(number, arrived == 1, "has arrived twice");
        let failed = verdict == Some(Verdict::Failed);
        self.check(number, !failed, "arrives and was said to have failed");
        self.goes_on();
    }

    /// The server says what it has made of it.
    pub(super) fn answered(&mut self, number: u64, what: &str) {
        self.note(number, format!("server: {what}"));
        let now = self.now;
        self.message(number).answered = Some(now);
    }

    pub(super) fn server_notes(&mut self, number: u64, what: &str) {
        self.note(number, format!("server: {what}"));
    }

    // ---- the end ----

    /// The promise that is broken, with the story of the message it is about, and of the faults in its life.
    pub(super) fn failure(&self) -> Option<String> {
        let (number, what) = self.broken.as_ref()?;
        let mut told = what.clone();
        let message = number.and_then(|number| self.messages.get(number as usize));
        if let Some(message) = message {
            let since = message.story.first().map_or(Duration::ZERO, |(at, _)| *at);
            let faults = self.faults.iter().filter(|(at, _)| *at >= since);
            let mut story: Vec<_> = message.story.iter().chain(faults).collect();
            story.sort_by_key(|(at, _)| *at);
            for (at, what) in story {
                told.push_str(&format!("\n{:>10.4} s  {what}", at.as_secs_f64()));
            }
        }
        Some(told)
    }

    pub(super) const fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Where everything hangs: what is still open.
    pub(super) fn hangs(&mut self) {
        let open: Vec<u64> = (0..self.allowed)
            .filter(|number| self.messages[*number as usize].verdict.is_none())
            .collect();
        let (count, ready, relay) = (open.len(), self.ready, self.relay);
        let first = open.first().copied();
        let what = format!(
            "nothing goes on any more, and {count} messages have no end; the client is ready: {ready}, the relay \
             listens at {relay:?}. The first of them:"
        );
        self.broken(first, what);
    }

    /// Judges what can be judged only when everything is at rest.
    pub(super) fn judge(&mut self) -> Report {
        let mut report = Report {
            found: self.found,
            told_again: self.told_again,
            untold: self.untold,
            ..Report::default()
        };
        for number in 0..self.messages.len() as u64 {
            let message = &self.messages[number as usize];
            let (accepted, arrived) = (message.accepted, message.arrived);
            match message.verdict {
                Some(Verdict::Delivered) => report.delivered += 1,
                Some(Verdict::Failed) => report.failed += 1,
                Some(Verdict::InDoubt) => self.judge_doubt(number, &mut report),
                None => report.missing += 1,
            }
            report.double += u64::from(arrived > 1);
            self.check(number, accepted, "was never accepted");
        }
        let missing = report.missing;
        if missing > 0 {
            self.broken(None, format!("{missing} messages have no end"));
        }
        report
    }

    /// Where the relay was when it was killed with this message: the first kill since the server saw it last.
    fn judge_doubt(&self, number: u64, report: &mut Report) {
        let message = &self.messages[number as usize];
        match message.arrived {
            0 => report.doubts_not_delivered += 1,
            _ => report.doubts_delivered += 1,
        }
        let begun = message.begun;
        let killed = self
            .relay_kills
            .iter()
            .copied()
            .find(|at| Some(*at) >= begun);
        match (killed, message.answered) {
            (Some(killed), Some(answered)) if answered <= killed => {
                report.doubts_after_answer += 1;
                report.longest_after_answer = report.longest_after_answer.max(killed - answered);
            }
            _ if message.whole.is_some() => report.doubts_before_answer += 1,
            _ => report.doubts_before_end += 1,
        }
    }
}

#[cfg(test)]
#[path = "judgement_tests.rs"]
mod tests;
