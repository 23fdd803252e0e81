//! The dialect of another relay: the same conversation in other words, around the same machine.
//!
//! ```console
//! $ cargo run -p relay-proto --example own_dialect
//! ```
//!
//! A machine can be wrapped by a machine. [`Translated`] passes everything on and only renames what the frames say, so
//! client or relay, under any driver, speaks the other dialect. This is enough where the words
//! differ; where the order of things differs, the other protocol wants a machine of its own, beside [`relay_proto::mail`].

use relay_proto::{
    Action, Closure, Deadline, Frame, Input, LinkId, Machine, Pump, Step, Time,
    mail::client::{Client, ClientConfig, Receipt, Submission},
    mail::wire::ApiKey,
    smtp::{Address, Envelope},
};
use serde_json::{Map, Value, json};
use std::{error::Error, time::Duration};

/// A name as this project says it, and as the other relay does.
type Words = [(&'static str, &'static str)];

const TYPE: &str = "type";

const FIELDS: &Words = &[
    (TYPE, "op"),
    ("apiKey", "token"),
    ("agent", "software"),
    ("success", "ok"),
    ("error", "message"),
    ("retryAfterMs", "waitMs"),
    ("permanent", "final"),
    ("limits", "limits"),
    ("data", "text"),
    ("dataBase64", "bytes"),
    ("reason", "why"),
    ("code", "status"),
];

const TYPES: &Words = &[
    ("AUTHENTICATE", "hello"),
    ("AUTHENTICATE_RESPONSE", "welcome"),
    ("SMTP_CHANNEL_OPEN", "begin"),
    ("SMTP_CHANNEL_READY", "ready"),
    ("SMTP_TO_SERVER", "up"),
    ("SMTP_FROM_SERVER", "down"),
    ("SMTP_CHANNEL_CLOSED", "end"),
    ("SMTP_CHANNEL_ERROR", "broken"),
];

#[derive(Clone, Copy)]
enum To {
    Ours,
    Theirs,
}

impl To {
    /// The word in the other language; none where it has none.
    fn word(self, words: &Words, word: &str) -> Option<&'static str> {
        words.iter().find_map(|&(ours, theirs)| match self {
            Self::Ours => (theirs == word).then_some(ours),
            Self::Theirs => (ours == word).then_some(theirs),
        })
    }

    /// Renames what a frame says. What has no word in the other language is left out, and what is not an object stays as
    /// it is: the machine knows what to make of either.
    fn frame(self, frame: Frame) -> Frame {
        let Frame::Text(text) = &frame else {
            return frame;
        };
        let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(text) else {
            return frame;
        };
        let renamed = fields.into_iter().filter_map(|(name, value)| {
            let name_there = self.word(FIELDS, &name)?;
            let is_type = [name.as_str(), name_there].contains(&TYPE);
            let value = match value.as_str() {
                // An unknown type stays one: machines ignore it and count it.
                Some(word) if is_type => self.word(TYPES, word).unwrap_or_default().into(),
                _ => value,
            };
            Some((name_there.to_owned(), value))
        });
        Frame::Text(Value::Object(renamed.collect()).to_string().into())
    }
}

/// A machine that speaks the other dialect.
pub(crate) struct Translated<M>(pub(crate) M);

impl<M: Machine> Machine for Translated<M> {
    type Event = M::Event;

    fn handle_input(&mut self, now: Time, mut input: Input) {
        if let Input::Frame { link, frame } = input {
            let frame = To::Ours.frame(frame);
            input = Input::Frame { link, frame };
        }
        self.0.handle_input(now, input);
    }

    fn poll_action(&mut self) -> Option<Action> {
        let mut action = self.0.poll_action()?;
        if let Action::Send { link, frame } = action {
            let frame = To::Theirs.frame(frame);
            action = Action::Send { link, frame };
        }
        Some(action)
    }

    fn handle_timeout(&mut self, now: Time) {
        self.0.handle_timeout(now);
    }

    fn deadline(&self) -> Option<Deadline> {
        self.0.deadline()
    }

    fn poll_event(&mut self) -> Option<M::Event> {
        self.0.poll_event()
    }

    fn read_limit(&self, link: LinkId) -> usize {
        self.0.read_limit(link)
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (receipt, said) = converse()?;
    for line in said {
        println!("{line}");
    }
    println!("accepted: {}", receipt.reply);
    Ok(())
}

/// One message from a translated client to the other relay, on time that passes at will: what came of it, and what was said.
fn converse() -> Result<(Receipt, Vec<String>), Box<dyn Error>> {
    let config = ClientConfig::new("wss://other.example/".parse()?, ApiKey::new("key"));
    let mut pump = Pump::new(Translated(Client::new(config, [0; 32], Time::ZERO)));
    let (from, to): (Address, Address) = ("alice@example.org".parse()?, "bob@example.net".parse()?);
    let letter = "Subject: Hello\r\n\r\nHello, Bob.\r\n";
    let submission = Submission::message(Envelope::new(from, [to])?, letter.into());
    // Commands go to the machine inside.
    pump.command(Time::ZERO, |client, now| client.0.submit(now, submission))?;
    pump.command(Time::ZERO, |client, now| {
        client.0.shutdown(now, Duration::MAX);
    });

    let (mut now, mut said, mut outcome) = (Time::ZERO, Vec::new(), None);
    loop {
        match pump.step(now) {
            Step::Perform(Action::Open { link, .. }) => {
                pump.handle_input(now, Input::Opened { link });
            }
            Step::Perform(Action::Send { link, frame }) => {
                pump.handle_input(now, Input::Written { link });
                if let Frame::Text(text) = &frame {
                    said.push(format!("client: {}", String::from_utf8_lossy(text)));
                    for answer in other_relay(&serde_json::from_slice(text)?) {
                        said.push(format!("relay:  {answer}"));
                        let frame = Frame::Text(answer.to_string().into());
                        pump.handle_input(now, Input::Frame { link, frame });
                    }
                }
            }
            Step::Perform(Action::StartTls { .. }) => return Err("no byte stream".into()),
            Step::Perform(Action::Close { link, .. }) => {
                let why = Closure::Local;
                pump.handle_input(now, Input::Closed { link, why });
            }
            Step::Perform(Action::Store { .. }) => {
                unreachable!("this client has no outbox on disk")
            }
            Step::Deliver(event) => {
                let ended = event.outcome().map(|(_, result)| result.cloned());
                outcome = ended.map(|result| result.map_err(Clone::clone)).or(outcome);
            }
            Step::Wait { until } => now = until.ok_or("nothing left to wait for")?.at,
            Step::Finished => return Ok((outcome.ok_or("no outcome")??, said)),
        }
    }
}

/// The other relay, as far as one message needs it.
fn other_relay(said: &Value) -> Vec<Value> {
    let down = |text| json!({ "op": "down", "text": text });
    let text = said["text"].as_str().unwrap_or_default();
    match said["op"].as_str() {
        Some("hello") if said["token"] == "key" => vec![json!({ "op": "welcome", "ok": true })],
        Some("hello") => vec![json!({ "op": "welcome", "ok": false, "message": "unknown token" })],
        Some("begin") => vec![json!({ "op": "ready" }), down("220 other.example\r\n")],
        Some("up") if text == "DATA\r\n" => vec![down("354 go on\r\n")],
        Some("up") if text == "QUIT\r\n" => vec![down("221 bye\r\n")],
        Some("up") => vec![down("250 2.0.0 fine\r\n")],
        Some("end") => vec![json!({ "op": "end" })],
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(to: To, text: &'static str) -> Value {
        let Frame::Text(text) = to.frame(Frame::Text(text.into())) else {
            panic!("text stays text");
        };
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn the_other_relay_hears_its_own_dialect() {
        let (receipt, said) = converse().unwrap();
        assert_eq!(receipt.reply.to_string(), "250 2.0.0 fine");
        assert!(
            said[0].starts_with("client: {\"op\":\"hello\""),
            "{}",
            said[0]
        );
        assert!(said.iter().all(|line| !line.contains("\"type\"")));
    }

    #[test]
    fn every_word_is_translated_there_and_back() {
        for words in [FIELDS, TYPES] {
            for (ours, theirs) in words {
                assert_eq!(To::Theirs.word(words, ours), Some(*theirs));
                assert_eq!(To::Ours.word(words, theirs), Some(*ours));
            }
        }
    }

    #[test]
    fn our_words_mean_nothing_in_the_other_dialect() {
        let ours = r#"{"type":"SMTP_CHANNEL_READY","data":"x","op":"SMTP_CHANNEL_READY"}"#;
        assert_eq!(translated(To::Ours, ours), json!({ "type": "" }));
    }
}
