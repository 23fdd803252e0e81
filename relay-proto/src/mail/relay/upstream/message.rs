//! One message through a connection, from MAIL to its end.

use super::{Stage, Upstream};
use crate::{
    Time,
    mail::relay::{
        RelayConfig,
        channel::Mail,
        output::Output,
        transaction::{Answer, Pen, Transaction},
    },
    smtp::{Ahead, Body, Command, ForwardPath, MailParameters, Reply, reply},
};
use alloc::{boxed::Box, format};
use bytes::BytesMut;

impl Upstream {
    /// What keeps this server from carrying such a message, as the reply to its MAIL. Clients are told beforehand, but perhaps by what
    /// another connection was offered.
    pub(in crate::mail::relay) fn refusal(&self, parameters: &MailParameters) -> Option<Reply> {
        let offered = &self.capabilities;
        let limit = offered.max_message_bytes().unwrap_or(u64::MAX);
        if parameters.smtputf8 && !offered.smtputf8 {
            let text = "The mail server takes no internationalized mail (SMTPUTF8)";
            Some(reply(553, "5.6.7", text))
        } else if parameters.body == Some(Body::EightBitMime) && !offered.eight_bit_mime {
            let text = "The mail server takes no 8-bit content (8BITMIME)";
            Some(reply(555, "5.6.3", text))
        } else if parameters.size.is_some_and(|size| size > limit) {
            let text = format!("The mail server takes messages of up to {limit} bytes");
            Some(reply(552, "5.3.4", text))
        } else {
            None
        }
    }

    /// Forwards MAIL with the parameters the server offers, and what the client has said behind it.
    pub(in crate::mail::relay) fn mail(
        &mut self,
        mail: Mail,
        ahead: impl Iterator<Item = Ahead>,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) {
        self.messages += 1;
        self.may_be_stale = self.messages > 1 || self.heard < now;
        let offered = &self.capabilities;
        // What is left out here changes nothing about the message; the rest was checked.
        let parameters = MailParameters {
            size: mail.parameters.size.filter(|_| offered.size.is_some()),
            body: mail.parameters.body.filter(|_| offered.eight_bit_mime),
            smtputf8: mail.parameters.smtputf8,
            // The client has no AUTH to go with it.
            auth: None,
        };
        let carries = (offered.pipelining, offered.chunking);
        let mut pen = Pen {
            client: self.client,
            wire: BytesMut::new(),
            output,
        };
        let transaction =
            Transaction::begin(mail.reverse_path, parameters, carries, ahead, &mut pen);
        let wire = pen.wire.freeze();
        self.send(wire, output);
        self.stage = Stage::Transaction(Box::new(transaction));
        self.restart_timer(config, now);
    }

    /// Forwards RCPT, and what the client has said behind it.
    pub(in crate::mail::relay) fn recipient(
        &mut self,
        forward_path: ForwardPath,
        ahead: impl Iterator<Item = Ahead>,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> Answer {
        let answer = self.write(output, |transaction, pen| {
            transaction.recipient(forward_path, ahead, pen)
        });
        self.adjust_timer(config, now);
        answer.unwrap_or(Answer::Never)
    }

    /// Forwards DATA, where the server wants it.
    pub(in crate::mail::relay) fn data(
        &mut self,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> Answer {
        let answer = self.write(output, Transaction::data);
        self.adjust_timer(config, now);
        answer.unwrap_or(Answer::Never)
    }

    /// Forwards a piece of content.
    pub(in crate::mail::relay) fn content(
        &mut self,
        content: &[u8],
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) {
        self.write(output, |transaction, pen| transaction.content(content, pen));
        self.adjust_timer(config, now);
    }

    /// Forwards the end of data.
    pub(in crate::mail::relay) fn end_of_content(
        &mut self,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) -> Answer {
        let answer = self.write(output, Transaction::end_of_content);
        self.conclude(config, now, output);
        self.adjust_timer(config, now);
        answer.unwrap_or(Answer::Never)
    }

    /// The client has given up its transaction, or the session has for it.
    pub(in crate::mail::relay) fn reset(
        &mut self,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) {
        self.take_back("the message is too large", config, now, output);
    }

    /// Ends a transaction that has nothing more to say.
    pub(super) fn conclude(&mut self, config: &RelayConfig, now: Time, output: &mut Output) {
        if let Stage::Transaction(transaction) = &self.stage {
            if transaction.is_over() {
                self.stage = Stage::Idle;
            } else if transaction.is_to_be_reset() {
                self.take_back("", config, now, output);
            }
        }
    }

    /// Takes a message back with RSET, or, where that would be content, by closing the connection without the end of data.
    pub(super) fn take_back(
        &mut self,
        why: &str,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) {
        let Stage::Transaction(transaction) = &self.stage else {
            return;
        };
        if let Some(replies) = transaction.replies_before_reset() {
            if transaction.has_content() {
                transaction.report_abandoned(why, self.client, output);
            }
            self.say_reset(replies, config, now, output);
        } else {
            self.abandon(why, output);
        }
    }

    pub(super) fn say_reset(
        &mut self,
        replies: usize,
        config: &RelayConfig,
        now: Time,
        output: &mut Output,
    ) {
        self.stage = Stage::Reset(replies);
        self.send(Command::Reset.to_bytes(), output);
        self.restart_timer(config, now);
    }

    /// Lets the transaction work, and sends what it says in one piece.
    pub(super) fn write<T>(
        &mut self,
        output: &mut Output,
        work: impl FnOnce(&mut Transaction, &mut Pen<'_>) -> T,
    ) -> Option<T> {
        let Stage::Transaction(transaction) = &mut self.stage else {
            return None;
        };
        let mut pen = Pen {
            client: self.client,
            wire: BytesMut::new(),
            output,
        };
        let result = work(transaction, &mut pen);
        let wire = pen.wire.freeze();
        if !wire.is_empty() {
            self.send(wire, output);
        }
        Some(result)
    }
}
