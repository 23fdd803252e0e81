//! The mail server behind the relay. It shares no code with what is judged, counts what it takes, and has moods.

use super::{
    chronicle::Chronicle,
    message::{self, Reception, below, millis},
};
use crate::peer;
use relay_proto::Random;
use std::{
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

/// The longest it thinks about a message, in milliseconds.
const LONGEST_THOUGHT: u64 = 40;

/// Starts one; where it listens, for as long as the run lasts.
pub(super) fn start(seed: u64, chronicle: &Arc<Chronicle>) -> SocketAddr {
    let (listener, address) = peer::listener();
    let chronicle = Arc::clone(chronicle);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(stream) = stream else { continue };
            let conversation = Conversation {
                seed,
                random: message::random(seed, "server", number as u64),
                chronicle: Arc::clone(&chronicle),
                number: None,
                content: Vec::new(),
            };
            // A relay that was killed leaves half a conversation behind.
            thread::spawn(move || drop(conversation.run(stream)));
        }
    });
    address
}

struct Conversation {
    seed: u64,
    random: Random,
    chronicle: Arc<Chronicle>,
    /// The message it is about.
    number: Option<u64>,
    content: Vec<u8>,
}

impl Conversation {
    fn run(mut self, stream: TcpStream) -> io::Result<()> {
        if self.is_away() {
            return Ok(());
        }
        stream.set_nodelay(true)?;
        let mut lines = BufReader::new(stream.try_clone()?);
        let mut out = stream;
        let takes_chunks = below(&mut self.random, 2) == 0;
        out.write_all(b"220 upstream.test\r\n")?;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut words = line.split_ascii_whitespace();
            let verb = words.next().unwrap_or_default().to_ascii_uppercase();
            match verb.as_str() {
                "EHLO" | "MAIL" | "RCPT" | "RSET" if self.is_away() => {
                    out.write_all(b"421 4.3.2 away for a while\r\n")?;
                    out.shutdown(Shutdown::Write)?;
                    // What is still on its way must not make the system take the reply back.
                    return io::copy(&mut lines, &mut io::sink()).map(drop);
                }
                "EHLO" if takes_chunks => out.write_all(
                    b"250-upstream.test\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME\r\n",
                )?,
                "EHLO" => {
                    out.write_all(b"250-upstream.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n")?;
                }
                "MAIL" => {
                    self.number = message::number_in_mail(&line);
                    self.content.clear();
                    if let Some(number) = self.number {
                        self.chronicle.add(|state| state.begun(number));
                    }
                    out.write_all(b"250 2.1.0 ok\r\n")?;
                }
                "DATA" => {
                    out.write_all(b"354 go on\r\n")?;
                    self.read_lines(&mut lines)?;
                    self.at_end(&mut out)?;
                }
                "BDAT" => {
                    let length = words.next().and_then(|length| length.parse().ok());
                    let length: u64 = length.ok_or(ErrorKind::InvalidData)?;
                    let is_last = words.next().is_some();
                    let mut chunk = Read::by_ref(&mut lines).take(length);
                    let read = chunk.read_to_end(&mut self.content)?;
                    if (read as u64) < length {
                        return Ok(());
                    }
                    match is_last {
                        true => self.at_end(&mut out)?,
                        false => out.write_all(b"250 2.0.0 go on\r\n")?,
                    }
                }
                "QUIT" => return out.write_all(b"221 2.0.0 bye\r\n"),
                "RCPT" | "RSET" | "NOOP" => out.write_all(b"250 2.0.0 ok\r\n")?,
                _ => out.write_all(b"502 5.5.1 unknown\r\n")?,
            }
        }
    }

    fn is_away(&self) -> bool {
        self.chronicle.add(|state| state.server_is_away)
    }

    /// The content behind DATA, without what SMTP has added to it.
    fn read_lines(&mut self, lines: &mut impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if line == b".\r\n" {
                return Ok(());
            }
            self.content
                .extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }

    /// It takes a message at the moment when it decides to, and says so now or a little later: who does not hear it any more
    /// can't know. Where it thinks first, it takes nothing from a client that has gone meanwhile.
    fn at_end(&mut self, out: &mut TcpStream) -> io::Result<()> {
        let number = message::number_of(&self.content);
        let number = number.filter(|_| number == self.number);
        let Some(number) = number else {
            let what = "a message has arrived in another's envelope, or without its number";
            self.chronicle.broken(what.to_owned());
            return Err(ErrorKind::InvalidData.into());
        };
        let content = std::mem::take(&mut self.content);
        let refused_before = self.chronicle.add(|state| state.arrives(number, &content));
        match message::reception(self.seed, number) {
            Reception::Refused => {
                self.chronicle.add(|state| state.refused(number));
                return out.write_all(b"550 5.7.1 not this one\r\n");
            }
            Reception::TakenLater if refused_before == 0 => {
                self.chronicle.add(|state| state.refused(number));
                return out.write_all(b"451 4.3.0 not now\r\n");
            }
            Reception::Taken | Reception::TakenLater => {}
        }
        let (thinks_first, is_slow) = (
            below(&mut self.random, 4) == 0,
            below(&mut self.random, 4) == 0,
        );
        if thinks_first {
            thread::sleep(millis(&mut self.random, LONGEST_THOUGHT));
            if has_gone(out)? {
                let what = "its client has gone; it is not taken";
                self.chronicle.add(|state| state.server_notes(number, what));
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        self.chronicle.add(|state| state.taken(number));
        if is_slow {
            thread::sleep(millis(&mut self.random, LONGEST_THOUGHT));
        }
        let sent = out.write_all(b"250 2.0.0 taken\r\n");
        let what = if sent.is_ok() {
            "answered"
        } else {
            "its client has gone"
        };
        self.chronicle.add(|state| state.answered(number, what));
        sent
    }
}

/// Whether the other side has hung up. Nothing has to be there to be read.
fn has_gone(stream: &TcpStream) -> io::Result<bool> {
    stream.set_read_timeout(Some(Duration::from_millis(1)))?;
    let peeked = stream.peek(&mut [0]);
    stream.set_read_timeout(None)?;
    Ok(match peeked {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    })
}
