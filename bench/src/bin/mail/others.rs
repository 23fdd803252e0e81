//! Other clients of mail servers.

use crate::{
    Outcome,
    case::{Case, Road},
    letter::letter,
    processes::PEERS,
    race::race,
};
use daaki_smtp::{ForwardPath, ReversePath, SmtpConnection, TlsMode};
use std::{
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// How daaki-smtp hands over the content.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Daaki {
    Data,
    /// Where the server offers CHUNKING.
    Bdat,
}

/// daaki-smtp, with a connection for each caller.
pub(crate) fn daaki(case: &Case, with: Daaki) -> Outcome<Duration> {
    let road = Road::straight(case)?;
    let (size, address) = (case.size, road.address());
    let from = ReversePath::new("alice@example.org")?;
    let to = case.recipients().map(ForwardPath::new);
    let to: Arc<[ForwardPath]> = to.collect::<Result<_, _>>()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let mut connections = Vec::new();
        for _ in 0..case.callers {
            let host = address.ip().to_string();
            let opened = SmtpConnection::connect(&host, address.port(), TlsMode::None, PATIENCE);
            connections.push(Arc::new(opened.await?));
        }
        let send = move |caller: usize, number| {
            let (connection, from, to) = (
                Arc::clone(&connections[caller]),
                from.clone(),
                Arc::clone(&to),
            );
            async move {
                let letter = letter(number, size);
                let sent = match with {
                    Daaki::Data => connection.send(&from, &to, &letter, PATIENCE).await?,
                    Daaki::Bdat => {
                        connection
                            .send_bdat(&from, &to, &letter, None, PATIENCE)
                            .await?
                    }
                };
                match sent.has_rejections() {
                    false => Ok(()),
                    true => Err("daaki-smtp had a recipient refused".into()),
                }
            }
        };
        race(case.callers, case.callers, send.clone()).await?;
        race(case.callers, case.messages, send).await
    })
}

/// Nodemailer with its pool, in a process of its own, which measures by itself once it is warm.
pub(crate) fn nodemailer(case: &Case) -> Outcome<Duration> {
    let road = Road::straight(case)?;
    let output = Command::new(format!("{PEERS}/node"))
        .arg("bench/nodemailer.js")
        .arg(road.address().ip().to_string())
        .arg(road.address().port().to_string())
        .args(
            [case.messages, case.size, case.callers, case.recipients]
                .map(|number| number.to_string()),
        )
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("Nodemailer: {}", output.status).into());
    }
    let milliseconds: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    Ok(Duration::from_secs_f64(milliseconds / 1e3))
}

/// postfix's own load generator. It does not measure, so what it takes to begin on a long line is measured first and subtracted.
pub(crate) fn smtp_source(case: &Case) -> Outcome<Duration> {
    let road = Road::straight(case)?;
    let run = |messages: usize| -> Outcome<Duration> {
        let began = Instant::now();
        let ended = Command::new(format!("{PEERS}/smtp-source"))
            // Keep the connections.
            .arg("-d")
            .args(["-s", &case.callers.to_string()])
            .args(["-m", &messages.to_string()])
            .args(["-l", &case.size.to_string()])
            .args(["-r", &case.recipients.to_string()])
            .args(["-f", "alice@example.org", "-t", "bob@example.net"])
            .arg(road.address().to_string())
            .status()?;
        if !ended.success() {
            return Err(format!("smtp-source: {ended}").into());
        }
        Ok(began.elapsed())
    };
    // On one machine the beginning is too short to be told from noise.
    if case.round_trip.is_none() {
        return run(case.messages);
    }
    let beginning = run(case.callers)?;
    let whole = run(case.callers + case.messages)?;
    whole
        .checked_sub(beginning)
        .ok_or_else(|| "smtp-source took longer for fewer messages".into())
}
