//! The messages of a run: each is made from the seed and its number, by whoever needs it.

use relay_proto::{
    Random,
    mail::client::Submission,
    smtp::{Address, Envelope},
};
use std::time::Duration;

/// What the mail server makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reception {
    Taken,
    /// The first time it is refused for the moment.
    TakenLater,
    Refused,
}

/// Random numbers for one purpose of a run.
pub(super) fn random(seed: u64, purpose: &str, number: u64) -> Random {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    for (byte, letter) in bytes[16..].iter_mut().zip(purpose.bytes()) {
        *byte = letter;
    }
    Random::new(bytes)
}

/// A seed for a machine: a new one for each life of each role.
pub(super) fn machine_seed(seed: u64, role: &str, life: u64) -> [u8; 32] {
    let mut random = random(seed, role, life);
    let mut bytes = [0; 32];
    for piece in bytes.chunks_exact_mut(8) {
        piece.copy_from_slice(&random.next_u64().to_le_bytes());
    }
    bytes
}

/// A number below `limit`, which is not zero.
pub(super) fn below(random: &mut Random, limit: u64) -> u64 {
    random.next_u64() % limit
}

/// A duration of up to so many milliseconds.
pub(super) fn millis(random: &mut Random, limit: u64) -> Duration {
    random.up_to(Duration::from_millis(limit))
}

pub(super) fn reception(seed: u64, number: u64) -> Reception {
    match below(&mut random(seed, "reception", number), 50) {
        0 | 1 => Reception::Refused,
        2 | 3 => Reception::TakenLater,
        _ => Reception::Taken,
    }
}

pub(super) fn content(seed: u64, number: u64) -> Vec<u8> {
    let mut random = random(seed, "content", number);
    let longest = match below(&mut random, 100) {
        0 => 400_000,
        1..=6 => 60_000,
        _ => 3_000,
    };
    let length = below(&mut random, longest) as usize;
    let mut content = format!("Subject: {number}\r\n\r\n").into_bytes();
    while content.len() < length {
        // Lines that begin with a dot are those that SMTP changes on the way.
        let line = match below(&mut random, 4) {
            0 => ".\r\n".to_owned(),
            1 => format!("..{:x}\r\n", random.next_u64()),
            _ => format!("{0:x} {number} {0:b}\r\n", random.next_u64()),
        };
        content.extend_from_slice(line.as_bytes());
    }
    content
}

/// The number of the message that begins like this.
pub(super) fn number_of(content: &[u8]) -> Option<u64> {
    let rest = content.strip_prefix(b"Subject: ")?;
    let length = rest.iter().position(|byte| *byte == b'\r')?;
    str::from_utf8(&rest[..length]).ok()?.parse().ok()
}

/// The number in a MAIL command.
pub(super) fn number_in_mail(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once("<m")?;
    rest.split_once('@')?.0.parse().ok()
}

pub(super) fn submission(seed: u64, number: u64) -> Submission {
    let address = |text: &str| text.parse::<Address>().unwrap();
    let from = address(&format!("m{number}@example.org"));
    let envelope = Envelope::new(from, [address("bob@example.net")]).unwrap();
    Submission::message(envelope, content(seed, number).into())
}
