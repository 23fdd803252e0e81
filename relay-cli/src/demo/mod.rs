//! `relay demo`: the whole system on one machine, with an accident, told as it happens.

mod cable;
mod inspection;
mod letters;
mod story;

use crate::{
    config::{Destination, Settings},
    failure::Failure,
    serve::Service,
};
use bytes::Bytes;
use cable::Cable;
use futures_util::StreamExt;
use inspection::inspect;
use letters::{LARGE, LETTERS, Letter};
use relay_proto::mail::{client::ClientConfig, wire::ApiKey};
use relay_tokio::{Config, mail::Client};
use std::{net::SocketAddr, path::Path, process::ExitCode, time::Duration};
use story::{Story, say, size};
use tokio::{select, time::timeout};

/// Where the cable is cut, in bytes from the client: well inside the attachment, and so early that the rest of
/// it does not fit into the buffers of the system's sockets.
const CUT_AFTER: usize = 1 << 20;

/// Nobody watches longer than half a minute.
const PATIENCE: Duration = Duration::from_secs(25);

/// Shows the whole system at work.
///
/// # Errors
///
/// Where anything goes otherwise than told.
pub(crate) async fn demo() -> Result<ExitCode, Failure> {
    let directory = tempfile::Builder::new()
        .prefix("relay-demo-")
        .tempdir()
        .map_err(|error| Failure::running(format_args!("no temporary directory: {error}")))?;
    timeout(PATIENCE, perform(directory.path()))
        .await
        .map_err(|_| Failure::running("the demonstration does not come to its end"))??;
    Ok(ExitCode::SUCCESS)
}

async fn perform(directory: &Path) -> Result<(), Failure> {
    let api_key = ApiKey::new("demo-key");
    let service = Service::start(settings(directory, &api_key)?).await?;
    let cable = Cable::lay().map_err(Failure::running)?;
    let contents: Vec<Bytes> = LETTERS
        .iter()
        .map(Letter::content)
        .collect::<Result<_, _>>()?;
    introduce(&service, cable.address(), &contents);

    let url = format!("ws://{}/", cable.address());
    let url = url.parse().map_err(Failure::running)?;
    let mut story = Story::begin();
    let client = Client::start(ClientConfig::new(url, api_key), Config::default());
    let mut client_events = client.events().await.map_err(Failure::running)?;
    let mut relay_events = service.relay().events().await.map_err(Failure::running)?;
    for (number, letter) in LETTERS.iter().enumerate() {
        let submission = letter.submission(contents[number].clone())?;
        let ticket = client.enqueue(submission).await.map_err(Failure::running)?;
        story.hand_in(ticket.id(), number);
    }
    story.tell(
        "client",
        "queues all of them; the most urgent will go first",
    );
    // Only now, so that the client chooses among all of them by priority.
    let mut cut = cable.plug_in(service.address(), CUT_AFTER);
    let mut was_cut = false;
    while !story.is_over() {
        select! {
            biased;
            news = &mut cut, if !was_cut => {
                news.map_err(|_| Failure::running("the cable broke where it should not"))?;
                was_cut = true;
                let message = story::name(LARGE);
                story.tell("cable", format_args!("✂ is cut in the middle of {message}"));
            }
            Some(Ok(event)) = client_events.next() => story.client(&event),
            Some(Ok(event)) = relay_events.next() => story.relay(&event),
            else => return Err(Failure::running("the client has ended by itself")),
        }
    }
    let statistics = client.stats().await.map_err(Failure::running)?;
    let left = client.shutdown(Duration::ZERO).await;
    service.drain(Duration::from_secs(1)).await;
    story.tell(
        "client",
        "has sent everything and hangs up; the relay stops",
    );
    let took = story.elapsed();

    say(format_args!(
        "\nIn the mailbox {}, which is removed now:",
        directory.display()
    ));
    inspect(directory, &contents)?;
    let as_told = was_cut && left.is_empty() && statistics.reconnects == 1;
    if !as_told || (story.delivered, story.recipients_refused) != (4, 1) {
        return Err(Failure::running("this did not go as it should"));
    }
    say(format_args!(
        "\n{} messages: {} delivered, {} refused, none lost, none twice, over a cable that was cut once: {} in {:.1} s.",
        LETTERS.len(),
        story.delivered,
        story.refused,
        size(statistics.bytes_sent),
        took.as_secs_f64(),
    ));
    Ok(())
}

/// A relay for one company's mail, and a mailbox for two people.
fn settings(directory: &Path, api_key: &ApiKey) -> Result<Settings, Failure> {
    let destination = Destination::Mailbox(directory.to_owned());
    let people = ["bob@example.net", "carol@example.net"];
    let allow_rcpt = people.iter().map(|person| person.parse());
    Ok(Settings {
        allow_sender: vec!["example.org".parse().map_err(Failure::running)?],
        allow_rcpt: allow_rcpt
            .collect::<Result<_, _>>()
            .map_err(Failure::running)?,
        ..Settings::private(api_key, destination).map_err(Failure::running)?
    })
}

/// Who is who, and what is to be sent.
fn introduce(service: &Service, cable: SocketAddr, contents: &[Bytes]) {
    let relay = service.address();
    say(format_args!(
        "\
Mail through a relay, all of it in this one process:

  client ─── WebSocket ───► cable ───────────► relay ─── SMTP ───► mailbox
                            {cable:<18} {relay:<18} a Maildir for each address

The client has an API key. The relay takes mail from example.org only. The mailbox is a mail server
for bob@example.net and carol@example.net. The cable will be cut once, in the middle of a message.

The client is given these messages:
"
    ));
    for (number, (letter, content)) in LETTERS.iter().zip(contents).enumerate() {
        let length = size(content.len() as u64);
        let (from, to) = (letter.from, letter.to.join(", "));
        let name = story::name(number);
        let priority = letter.priority.to_string();
        say(format_args!(
            "  {name:<24} {length:>9}  {priority:<8}  {from} → {to}"
        ));
    }
    say("");
}
