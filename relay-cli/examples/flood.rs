//! What a flood of one key costs the mail of another, where all of them wait for the same processor.
//!
//! `cargo run --release -p relay-cli --example flood` starts `relay serve` with two keys and a mail server that takes everything. One key
//! sends a message each 100 ms; the other floods the relay, on eight links and as fast as they take it: with frames that mean
//! nothing, with pings, or with messages of a few bytes. How long the messages of the first take is printed beside what they take without.
//! The floods come from a process of their own, or their tasks would stand between the measuring client and its runtime.

use futures_util::{SinkExt, StreamExt};
use relay_proto::{
    mail::{
        client::{ClientConfig, Submission},
        wire::ApiKey,
    },
    smtp::{Address, Envelope},
};
use relay_tokio::{Config, mail::Client};
use std::{
    error::Error,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream as Socket, task::JoinSet, time};
use tungstenite::Message;

type Failure = Box<dyn Error + Send + Sync>;

const LINKS: usize = 8;
const MESSAGES: usize = 100;

/// What is sent, and what the relay is told to hold against it.
const FLOODS: [(&str, &[&str]); 4] = [
    ("frames", &[]),
    ("pings", &[]),
    ("messages", &[]),
    ("messages", &["--key-rate", "50/s"]),
];

#[tokio::main]
async fn main() -> Result<(), Failure> {
    if let [_, flood, url] = &std::env::args().collect::<Vec<_>>()[..] {
        return self::flood(flood, url).await;
    }
    let own = std::env::current_exe()?;
    let program = own.parent().and_then(|path| path.parent());
    let program = program.ok_or("no directory")?.join("relay");
    for (flood, limits) in FLOODS {
        let relay = share_of("taskset -c 0", &program)
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "error"])
            .args(["--upstream", &format!("smtp://{}", mail_server()?)])
            .args(limits)
            .env("RELAY_API_KEY", "good,bad")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut relay = Ended(relay);
        let output = relay.0.stdout.take().ok_or("no output")?;
        let mut lines = BufReader::new(output).lines();
        let line = lines.next().ok_or("the relay has ended")??;
        let url = line.strip_prefix("listening on ").ok_or("no address")?;
        println!("{flood} {}", limits.join(" "));
        measure("before", url).await?;
        let flooder = share_of("taskset -c 1 chrt --idle 0", &own)
            .args([flood, url])
            .spawn()?;
        let flooder = Ended(flooder);
        measure("meanwhile", url).await?;
        drop(flooder);
        measure("afterwards", url).await?;
    }
    Ok(())
}

/// A program with its share of the processor: of two cores the relay has one; a flooder has what the client and the mail server
/// leave of the other, since a real one is elsewhere and takes no processor from them.
fn share_of(share: &str, program: &Path) -> Command {
    if !cfg!(target_os = "linux") {
        return Command::new(program);
    }
    let mut words = share.split(' ');
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg(program);
    command
}

/// A process that ends with this.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure(when: &str, url: &str) -> Result<(), Failure> {
    let client = client(url, "good")?;
    client.send(letter()?).await?;
    let mut took = Vec::new();
    let mut ticks = time::interval(Duration::from_millis(100));
    for _ in 0..MESSAGES {
        ticks.tick().await;
        let began = Instant::now();
        client.send(letter()?).await?;
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let at = |share: usize| took[MESSAGES * share / 100].as_secs_f64() * 1000.0;
    println!(
        "    {when}: half take up to {:.2} ms, nine of ten {:.2} ms",
        at(50),
        at(90)
    );
    Ok(())
}

async fn flood(flood: &str, url: &str) -> Result<(), Failure> {
    let mut flooders = JoinSet::new();
    for _ in 0..LINKS {
        let url = url.to_owned();
        match flood {
            "frames" => {
                let frame = Message::text(r#"{"type":"NOTHING"}"#);
                drop(flooders.spawn(send_frames(url, frame)));
            }
            "pings" => {
                let frame = Message::Ping(b"0123456789"[..].into());
                drop(flooders.spawn(send_frames(url, frame)));
            }
            "messages" => drop(flooders.spawn(send_messages(url))),
            _ => return Err("floods are frames, pings or messages".into()),
        }
    }
    while let Some(ended) = flooders.join_next().await {
        if let Err(why) = ended? {
            eprintln!("a flooder was stopped: {why}");
        }
    }
    Ok(())
}

fn client(url: &str, key: &str) -> Result<Client, Failure> {
    let mut config = ClientConfig::new(url.parse()?, ApiKey::new(key));
    config.idle = None;
    Ok(Client::start(config, Config::default()))
}

fn letter() -> Result<Submission, Failure> {
    let (from, to): (Address, Address) = ("a@example.org".parse()?, "b@example.net".parse()?);
    Ok(Submission::message(
        Envelope::new(from, [to])?,
        "hello\r\n".into(),
    ))
}

async fn send_frames(url: String, frame: Message) -> Result<(), Failure> {
    let address = url.trim_start_matches("ws://").trim_end_matches('/');
    let stream = Socket::connect(address).await?;
    let (socket, _) = tokio_tungstenite::client_async(&url, stream).await?;
    let (mut out, mut back) = socket.split();
    out.send(Message::text(r#"{"type":"AUTHENTICATE","apiKey":"bad"}"#))
        .await?;
    back.next().await.ok_or("not granted")??;
    tokio::spawn(async move { while let Some(Ok(_)) = back.next().await {} });
    loop {
        for _ in 0..100 {
            out.feed(frame.clone()).await?;
        }
        out.flush().await?;
    }
}

async fn send_messages(url: String) -> Result<(), Failure> {
    let client = client(&url, "bad")?;
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < 100 {
            let client = client.clone();
            let letter = letter()?;
            under_way.spawn(async move { client.send(letter).await });
        }
        // What is refused for the moment is part of it.
        let _ = under_way.join_next().await;
    }
}

/// A mail server that agrees to everything, on as many connections as there are.
fn mail_server() -> Result<std::net::SocketAddr, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || drop(converse(stream)));
        }
    });
    Ok(address)
}

fn converse(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(b"220 mx.example\r\n")?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(line) = lines.next().transpose()? {
        if line.starts_with("DATA") {
            stream.write_all(b"354 go on\r\n")?;
            while lines.next().transpose()?.is_some_and(|line| line != ".") {}
        }
        stream.write_all(b"250 ok\r\n")?;
    }
    Ok(())
}
