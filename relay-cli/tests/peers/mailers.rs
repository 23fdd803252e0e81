//! The mailers people use, through `relay bridge` and `relay sendmail`, before aiosmtpd: what arrives is what they sent.

use crate::support::{Bridge, Ended, MailServer, Process, RelayServer, peer, python, sendmail};
use mail_parser::{MessageParser, MimeHeaders};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Where a mailer's mail goes: a bridge, the relay behind it, and the mail server behind that.
pub(crate) struct Line {
    pub(crate) server: MailServer,
    pub(crate) relay: RelayServer,
    directory: TempDir,
}

impl Line {
    pub(crate) fn lay(refused: &[&str]) -> Option<Self> {
        let server = MailServer::start(refused)?;
        let relay = RelayServer::before(server.port);
        let directory = tempfile::tempdir().unwrap();
        Some(Self {
            server,
            relay,
            directory,
        })
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The attachment of the only message.
    fn attachment(&self) -> Vec<u8> {
        let [(_, message)] = &*self.server.messages() else {
            panic!("one message");
        };
        let message = MessageParser::default().parse(message).unwrap();
        let attachment = message
            .attachments()
            .find(|part| part.attachment_name().is_some());
        attachment.unwrap().contents().to_vec()
    }
}

/// Every byte, in an order that has every line end in it, and dots behind them.
pub(crate) fn bytes() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..200_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    bytes.extend(b"\r\n.\r\n.\n\n\r\r");
    bytes.extend(0..=255);
    bytes
}

pub(crate) fn run(command: &mut Command) -> Ended {
    Process::start(command, b"").wait()
}

pub(crate) fn swaks(arguments: &[&str]) -> Option<Ended> {
    let mut command = Command::new(peer("swaks")?);
    command.args(["--from", "alice@example.org", "--to", "bob@example.net"]);
    Some(run(command.args(arguments)))
}

pub(crate) fn smtplib(
    bridge: &Bridge,
    recipients: &[&str],
    more: &[&str],
    content: &Path,
) -> Option<Ended> {
    let mut command = python("mailer.py")?;
    command.args([
        "--port",
        &bridge.port.to_string(),
        "--sender",
        "alice@example.org",
    ]);
    for recipient in recipients {
        command.args(["--to", recipient]);
    }
    Some(run(command.args(more).arg(content)))
}

#[test]
fn smtplib_sends_several_messages_byte_for_byte() {
    let Some(line) = Line::lay(&[]) else { return };
    let bridge = Bridge::before(&line.relay.url);
    let mut content = b"Subject: 8 bits\r\n\r\n.\r\n..\r\n".to_vec();
    content.extend((1..=255).filter(|byte| !b"\r\n".contains(byte)));
    content.extend(b"\r\n\r\n.x\r\n");
    let file = line.file("letter.eml", &content);
    let Some(ended) = smtplib(&bridge, &["bob@example.net"], &["--count", "3"], &file) else {
        return;
    };
    let offers =
        r#""8bitmime", "chunking", "enhancedstatuscodes", "pipelining", "size", "smtputf8""#;
    ended.expect(0, &[offers, "kept as 0", "kept as 1", "kept as 2"]);
    let messages = line.server.messages();
    assert_eq!(messages.len(), 3);
    for (envelope, received) in messages {
        assert!(envelope.ends_with("\nRCPT bob@example.net"), "{envelope}");
        assert_eq!(received, content);
    }
}

#[test]
fn an_address_beyond_ascii_goes_all_the_way() {
    let Some(line) = Line::lay(&[]) else { return };
    let bridge = Bridge::before(&line.relay.url);
    let file = line.file("letter.eml", b"Subject: x\r\n\r\nx\r\n");
    let to = ["δοκιμή@παράδειγμα.example"];
    let Some(ended) = smtplib(&bridge, &to, &["--utf8"], &file) else {
        return;
    };
    ended.expect(0, &["kept as 0"]);
    let (envelope, _) = &line.server.messages()[0];
    assert!(
        envelope.contains("SMTPUTF8") && envelope.ends_with(to[0]),
        "{envelope}"
    );
}

#[test]
fn smtplib_is_told_of_refusals_and_the_sender_of_those_in_part() {
    let Some(line) = Line::lay(&["carol@example.net"]) else {
        return;
    };
    let bridge = Bridge::before(&line.relay.url);
    let file = line.file("letter.eml", b"Subject: x\r\n\r\nsecret\r\n");
    let Some(ended) = smtplib(&bridge, &["carol@example.net"], &[], &file) else {
        return;
    };
    ended.expect(
        0,
        &[r#""code": 550, "text": "5.1.1 carol@example.net is unknown here""#],
    );
    assert!(line.server.messages().is_empty());

    let both = ["bob@example.net", "carol@example.net"];
    let ended = smtplib(&bridge, &both, &[], &file).unwrap();
    ended.expect(
        0,
        &[
            r#""code": 250"#,
            "Refused for <carol@example.net>: 550 5.1.1",
        ],
    );
    bridge
        .process
        .wait_for("report to the sender relayed: 250 2.0.0 kept as 1");
    let [_, (envelope, report)] = &*line.server.messages() else {
        panic!("a message and a report");
    };
    assert!(envelope.starts_with("MAIL <> "), "{envelope}");
    assert!(envelope.ends_with("\nRCPT alice@example.org"), "{envelope}");
    let report = MessageParser::default().parse(report).unwrap();
    let status = report.parts.iter().find(|part| {
        let kind = part.content_type().and_then(|kind| kind.subtype());
        kind == Some("delivery-status")
    });
    let status = String::from_utf8(status.unwrap().contents().to_vec()).unwrap();
    assert!(
        status.contains("Final-Recipient: rfc822; carol@example.net"),
        "{status}"
    );
    assert!(!String::from_utf8_lossy(report.raw_message()).contains("secret"));
}

#[test]
fn swaks_sends_attachments_with_and_without_pipelining() {
    for pipeline in [&["--pipeline"][..], &[]] {
        let Some(line) = Line::lay(&[]) else { return };
        let bridge = Bridge::before(&line.relay.url);
        let file = line.file("bytes.bin", &bytes());
        let attach = format!("@{}", file.display());
        let server = format!("127.0.0.1:{}", bridge.port);
        let arguments = [
            "--server",
            &server,
            "--attach-name",
            "bytes.bin",
            "--attach",
            &attach,
        ];
        let Some(ended) = swaks(&[&arguments, pipeline].concat()) else {
            return;
        };
        ended.expect(0, &["250 2.0.0 kept as 0"]);
        assert!(line.attachment() == bytes(), "the attachment has changed");
    }
}

#[test]
fn swaks_holds_a_session_with_sendmail() {
    let Some(line) = Line::lay(&[]) else { return };
    let file = line.file("bytes.bin", &bytes());
    let attach = format!("@{}", file.display());
    let sendmail = sendmail(line.directory.path(), &line.relay.url);
    let pipe = format!("{} -bs", sendmail.display());
    let arguments = [
        "--pipe",
        &pipe,
        "--attach-name",
        "bytes.bin",
        "--attach",
        &attach,
    ];
    let Some(ended) = swaks(&arguments) else {
        return;
    };
    ended.expect(0, &["250 2.0.0 kept as 0"]);
    assert!(line.attachment() == bytes(), "the attachment has changed");
}

#[test]
fn nodemailer_sends_attachments_and_is_told_of_refusals() {
    let Some(line) = Line::lay(&["carol@example.net"]) else {
        return;
    };
    let (Some(node), Some(library)) = (peer("node"), peer("nodemailer")) else {
        return;
    };
    let bridge = Bridge::before(&line.relay.url);
    let file = line.file("bytes.bin", &bytes());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/mailer.mjs");
    let send = |recipient| {
        let mut command = Command::new(&node);
        command
            .arg(&script)
            .arg(&library)
            .arg(bridge.port.to_string());
        run(command.arg(&file).arg(recipient))
    };
    send("carol@example.net").expect(0, &["\"code\":550", "is unknown here"]);
    send("bob@example.net").expect(0, &["\"accepted\":[\"bob@example.net\"]", "kept as 0"]);
    assert!(line.attachment() == bytes(), "the attachment has changed");
    let message = &line.server.messages()[0].1;
    let message = MessageParser::default().parse(message).unwrap();
    assert_eq!(message.subject(), Some("Grüße"));
    let text = message.body_text(0).unwrap();
    assert!(
        text.starts_with(".\n") || text.starts_with(".\r\n"),
        "{text}"
    );
}

/// A repository with a commit that changes a binary file and one with long and dotted lines.
struct Repository<'a> {
    git: &'a Path,
    path: PathBuf,
}

impl<'a> Repository<'a> {
    fn new(git: &'a Path, path: PathBuf) -> Self {
        fs::create_dir(&path).unwrap();
        let repository = Self { git, path };
        repository.run(&["init", "--quiet", "--initial-branch", "main"]);
        repository
    }

    fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.git);
        let name = [
            "-c",
            "user.name=Alice",
            "-c",
            "user.email=alice@example.org",
        ];
        command.current_dir(&self.path).args(name).args(arguments);
        // Nobody's own settings.
        command
            .env("HOME", &self.path)
            .env("GIT_CONFIG_NOSYSTEM", "1");
        command.env("XDG_CONFIG_HOME", self.path.parent().unwrap());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let wrong = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {said}{wrong}");
        said
    }
}

#[test]
fn git_sends_patches_that_apply() {
    let Some(line) = Line::lay(&[]) else { return };
    let Some(git) = peer("git") else { return };
    let bridge = Bridge::before(&line.relay.url);
    let repository = Repository::new(&git, line.directory.path().join("from"));
    fs::write(repository.path.join("text"), "ü\n.\n..\n\nFrom here\n").unwrap();
    fs::write(repository.path.join("bytes"), bytes()).unwrap();
    repository.run(&["add", "."]);
    repository.run(&["commit", "--quiet", "--message", "Add bytes, with ü"]);
    let patch = repository.run(&[
        "format-patch",
        "--root",
        "--binary",
        "--output-directory",
        "..",
    ]);
    let patch = patch.trim();

    let sendmail = sendmail(line.directory.path(), &line.relay.url);
    let port = format!("--smtp-server-port={}", bridge.port);
    let through_sendmail = format!("--smtp-server={}", sendmail.display());
    let common = [
        "send-email",
        "--quiet",
        "--confirm=never",
        "--suppress-cc=all",
    ];
    let people = ["--from=alice@example.org", "--to=bob@example.net", patch];
    repository.run(&[&common[..], &["--smtp-server=127.0.0.1", &port], &people].concat());
    repository.run(&[&common[..], &[&through_sendmail], &people].concat());

    let messages = line.server.messages();
    assert_eq!(messages.len(), 2);
    for (index, (envelope, message)) in messages.iter().enumerate() {
        assert!(envelope.ends_with("\nRCPT bob@example.net"), "{envelope}");
        let file = line.file("received.eml", message);
        let other = Repository::new(&git, line.directory.path().join(index.to_string()));
        other.run(&["am", "--quiet", file.to_str().unwrap()]);
        let tree = ["rev-parse", "HEAD^{tree}"];
        assert_eq!(other.run(&tree), repository.run(&tree));
    }
}
