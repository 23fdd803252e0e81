use super::*;
use std::{fs, path::Path};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

async fn start(root: &Path, allowed: &[&str]) -> MailboxServer {
    let allowed = allowed.iter().map(|rule| rule.parse().unwrap()).collect();
    let directory = Directory::open(root, allowed).unwrap();
    MailboxServer::start(directory, 1000).await.unwrap()
}

/// Says one line after the other and returns the last line of each reply, the greeting's first.
async fn talk(server: &MailboxServer, lines: &[&str]) -> Vec<String> {
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let mut stream = BufReader::new(stream);
    let mut replies = vec![hear(&mut stream).await];
    for line in lines {
        stream.write_all(line.as_bytes()).await.unwrap();
        stream.write_all(b"\r\n").await.unwrap();
        replies.push(hear(&mut stream).await);
    }
    replies
}

async fn hear(stream: &mut BufReader<TcpStream>) -> String {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        if line.as_bytes().get(3) != Some(&b'-') {
            return line.trim_end().to_owned();
        }
    }
}

fn messages(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let read = |entry: io::Result<fs::DirEntry>| fs::read_to_string(entry.unwrap().path()).unwrap();
    entries.map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_delivered_when_the_reply_says_so() {
    let root = tempfile::tempdir().unwrap();
    let server = start(root.path(), &["example.net"]).await;
    let replies = talk(
        &server,
        &[
            "EHLO client.example",
            "MAIL FROM:<alice@example.org>",
            "RCPT TO:<bob@example.net>",
            "RCPT TO:<eve@example.com>",
            "DATA",
            "Subject: x\r\n\r\n..dot\r\n.",
            "QUIT",
        ],
    )
    .await;
    let codes: Vec<_> = replies.iter().map(|reply| &reply[..3]).collect();
    assert_eq!(
        codes,
        ["220", "250", "250", "250", "550", "354", "250", "221"]
    );
    let [message] = &*messages(&root.path().join("example.net/bob/new")) else {
        panic!("one message");
    };
    assert!(message.starts_with("Return-Path: <alice@example.org>\r\n"));
    assert!(message.ends_with("\r\nSubject: x\r\n\r\n.dot\r\n"));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_finished_is_not_kept() {
    let root = tempfile::tempdir().unwrap();
    let server = start(root.path(), &[]).await;
    let begun = [
        "EHLO c",
        "MAIL FROM:<a@example.org>",
        "RCPT TO:<b@example.net>",
        "DATA",
    ];
    // Too large, a connection lost in the content, and a second message after both.
    let large = format!("{}\r\n.", "x".repeat(2000));
    let replies = talk(&server, &[&begun[..], &[&large]].concat()).await;
    assert!(replies[5].starts_with("552 5.3.4"), "{replies:?}");

    let mut stream = BufReader::new(TcpStream::connect(server.address()).await.unwrap());
    hear(&mut stream).await;
    for line in begun {
        stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await
            .unwrap();
        hear(&mut stream).await;
    }
    stream.write_all(b"half a mess").await.unwrap();
    drop(stream);

    let replies = talk(&server, &[&begun[..], &["whole\r\n."]].concat()).await;
    assert_eq!(replies[5], "250 2.0.0 Delivered");
    server.shutdown().await;
    let maildir = root.path().join("example.net/b");
    assert_eq!(messages(&maildir.join("new")).len(), 1);
    assert!(messages(&maildir.join("tmp")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_is_a_passing_problem() {
    let root = tempfile::tempdir().unwrap();
    let server = start(root.path(), &[]).await;
    // A file where the mailbox's directory would be.
    fs::write(root.path().join("example.net"), "").unwrap();
    let lines = [
        "EHLO c",
        "MAIL FROM:<>",
        "RCPT TO:<b@example.net>",
        "DATA",
        "x\r\n.",
    ];
    let replies = talk(&server, &lines).await;
    assert!(replies[5].starts_with("451 4.3.0"), "{replies:?}");
    server.shutdown().await;
}
