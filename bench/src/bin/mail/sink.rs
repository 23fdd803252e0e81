//! A mail server that takes everything at once. It is written apart from the project's own server, so that no mistake of that
//! is measured as speed.

use crate::Outcome;
use memchr::memmem::Finder;
use std::{
    io::{self, Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    thread,
};

const GREETING: &[u8] = b"220 sink ESMTP\r\n";
const CAPABILITIES: &[u8] =
    b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 200000000\r\n250 CHUNKING\r\n";
const OK: &[u8] = b"250 2.0.0 Ok\r\n";

/// Serves until it is killed; says first where.
pub(crate) fn serve(here: IpAddr) -> Outcome<()> {
    let listener = TcpListener::bind((here, 0))?;
    println!("{}", listener.local_addr()?);
    for client in listener.incoming() {
        let client = client?;
        // A client that breaks off is done.
        thread::spawn(move || converse(client));
    }
    Ok(())
}

/// What the bytes that come are.
enum Reading {
    Commands,
    /// Content after DATA.
    Lines,
    /// Content after BDAT: so many bytes still.
    Chunk(usize),
}

fn converse(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    client.write_all(GREETING)?;
    let end_of_data = Finder::new(b"\r\n.\r\n");
    let mut reading = Reading::Commands;
    let mut buffer = vec![0; 256 * 1024];
    let (mut from, mut to) = (0, 0);
    let mut replies = Vec::new();
    loop {
        buffer.copy_within(from..to, 0);
        (from, to) = (0, to - from);
        let count = client.read(&mut buffer[to..])?;
        if count == 0 {
            return Ok(());
        }
        to += count;
        let mut quits = false;
        while let Some(rest) = take(
            &buffer[from..to],
            &mut reading,
            &end_of_data,
            &mut replies,
            &mut quits,
        ) {
            from = to - rest;
        }
        // What is left of content has no meaning by itself, but for what may begin its end.
        if let Reading::Lines = reading {
            from = from.max(to.saturating_sub(4));
        }
        client.write_all(&replies)?;
        replies.clear();
        if quits {
            return Ok(());
        }
    }
}

/// Works off the next thing, if it is complete. How many bytes are left then.
fn take(
    bytes: &[u8],
    reading: &mut Reading,
    end_of_data: &Finder<'_>,
    replies: &mut Vec<u8>,
    quits: &mut bool,
) -> Option<usize> {
    match reading {
        Reading::Lines => {
            let at = end_of_data.find(bytes)?;
            *reading = Reading::Commands;
            replies.extend_from_slice(OK);
            Some(bytes.len() - at - 5)
        }
        Reading::Chunk(left) => {
            if bytes.is_empty() {
                return None;
            }
            let taken = (*left).min(bytes.len());
            *left -= taken;
            if *left == 0 {
                replies.extend_from_slice(OK);
                *reading = Reading::Commands;
            }
            Some(bytes.len() - taken)
        }
        Reading::Commands => {
            let at = memchr::memmem::find(bytes, b"\r\n")?;
            let line = &bytes[..at];
            let mut rest = bytes.len() - at - 2;
            let verb = line.get(..4).unwrap_or(line).to_ascii_uppercase();
            match &verb[..] {
                b"EHLO" => replies.extend_from_slice(CAPABILITIES),
                b"DATA" => {
                    replies.extend_from_slice(b"354 Go on\r\n");
                    *reading = Reading::Lines;
                    // A line end before the first line, since content may end at once.
                    rest += 2;
                }
                b"BDAT" => {
                    let mut words = line.split(|byte| *byte == b' ').skip(1);
                    let size = words
                        .next()
                        .and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
                    match size {
                        Some(0) => replies.extend_from_slice(OK),
                        Some(size) => *reading = Reading::Chunk(size),
                        None => replies.extend_from_slice(b"501 5.5.4 What size?\r\n"),
                    }
                }
                b"QUIT" => {
                    replies.extend_from_slice(b"221 2.0.0 Bye\r\n");
                    *quits = true;
                }
                b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP" => replies.extend_from_slice(OK),
                _ => replies.extend_from_slice(b"500 5.5.2 Unknown\r\n"),
            }
            Some(rest)
        }
    }
}
