//! The ceiling of the mail servers: commands and contents in one stream, without waiting for any reply.

use crate::{
    Outcome,
    case::{Case, Road, Upstream},
    letter::letter,
};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// How many bytes are written at a time.
const PIECE: usize = 256 * 1024;

/// One connection. Not how mail may be sent to a server one does not know: contents follow DATA unasked where there is no BDAT.
pub(crate) fn pipelined(case: &Case) -> Outcome<Duration> {
    let road = Road::straight(case)?;
    let mut server = TcpStream::connect(road.address())?;
    server.set_nodelay(true)?;
    let mut replies = BufReader::new(server.try_clone()?);
    read_replies(&mut replies, 1)?;
    server.write_all(b"HELO bench\r\n")?;
    read_replies(&mut replies, 1)?;
    let (chunks, replies_each) = match case.upstream {
        Upstream::Counting => (true, 2 + case.recipients),
        Upstream::SmtpSink => (false, 3 + case.recipients),
    };
    let began = Instant::now();
    let case = *case;
    let writing = thread::spawn(move || -> std::io::Result<()> {
        let mut piece = Vec::with_capacity(PIECE + case.size);
        for number in 0..case.messages {
            piece.extend_from_slice(b"MAIL FROM:<alice@example.org>\r\n");
            for to in case.recipients() {
                write!(piece, "RCPT TO:<{to}>\r\n")?;
            }
            if chunks {
                write!(piece, "BDAT {} LAST\r\n", case.size)?;
                piece.extend_from_slice(&letter(number, case.size));
            } else {
                piece.extend_from_slice(b"DATA\r\n");
                piece.extend_from_slice(&letter(number, case.size));
                piece.extend_from_slice(b".\r\n");
            }
            if piece.len() >= PIECE || number + 1 == case.messages {
                server.write_all(&piece)?;
                piece.clear();
            }
        }
        Ok(())
    });
    read_replies(&mut replies, case.messages * replies_each)?;
    let took = began.elapsed();
    writing.join().map_err(|_| "the writer panicked")??;
    Ok(took)
}

fn read_replies(replies: &mut impl BufRead, count: usize) -> Outcome<()> {
    let mut line = Vec::new();
    for _ in 0..count {
        line.clear();
        while line.get(3).is_none_or(|byte| *byte != b' ') {
            line.clear();
            if replies.read_until(b'\n', &mut line)? == 0 {
                return Err("the server hung up".into());
            }
        }
        if !matches!(line[0], b'2' | b'3') {
            return Err(format!("the server said {:?}", String::from_utf8_lossy(&line)).into());
        }
    }
    Ok(())
}
