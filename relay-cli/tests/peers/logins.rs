//! Who knows whom: the mailers people use before a bridge with users and TLS, and a relay before a mail server with both.

use crate::{
    mailers::{Line, run, smtplib, swaks},
    support::{Bridge, Ended, MailServer, RelayServer, peer, python, send, sending},
};
use std::{fs, path::Path, process::Command};

const MECHANISMS: [&str; 2] = ["PLAIN", "LOGIN"];

/// A certificate for this machine and its key, in PEM form.
fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap();
    let certificate = certificate.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// A bridge with a user and a certificate.
struct Guarded {
    line: Line,
    bridge: Bridge,
    certificate: String,
    letter: String,
}

impl Guarded {
    fn start(implicit: bool) -> Option<Self> {
        let line = Line::lay(&[])?;
        let (certificate, key) = certificate();
        let file = |name, content: &[u8]| line.file(name, content).to_str().unwrap().to_owned();
        let certificate = file("cert.pem", certificate.as_bytes());
        let key = file("key.pem", key.as_bytes());
        let users = file("users", b"alice:open: sesame\n");
        let letter = file("letter.eml", b"Subject: x\r\n\r\nx\r\n");
        let mut arguments = vec![
            "--users-file",
            &users,
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
        ];
        arguments.extend(implicit.then_some("--implicit-tls"));
        let scheme = if implicit { "smtps" } else { "smtp" };
        let bridge = Bridge::with(&line.relay.url, scheme, &arguments);
        Some(Self {
            line,
            bridge,
            certificate,
            letter,
        })
    }

    fn swaks(&self, arguments: &[&str]) -> Option<Ended> {
        let server = format!("127.0.0.1:{}", self.bridge.port);
        let common = ["--server", &server, "--data", "Subject: x\\n\\nx\\n"];
        swaks(&[&common, arguments].concat())
    }

    fn smtplib(&self, arguments: &[&str]) -> Option<Ended> {
        let letter = Path::new(&self.letter);
        smtplib(&self.bridge, &["bob@example.net"], arguments, letter)
    }

    fn arrived(&self) -> usize {
        self.line.server.messages().len()
    }
}

#[test]
fn swaks_logs_in_with_every_mechanism_behind_starttls() {
    let Some(guarded) = Guarded::start(false) else {
        return;
    };
    for (count, mechanism) in MECHANISMS.iter().enumerate() {
        let tls = [
            "--tls",
            "--tls-verify",
            "--tls-ca-path",
            &guarded.certificate,
        ];
        let auth = ["--auth", mechanism, "--auth-user", "alice"];
        let right = ["--auth-password", "open: sesame"];
        let Some(ended) = guarded.swaks(&[&tls[..], &auth, &right].concat()) else {
            return;
        };
        let kept = format!("250 2.0.0 kept as {count}");
        ended.expect(0, &["220 2.0.0 Ready to start TLS", "235 2.7.0", &kept]);
        let wrong = ["--auth-password", "sesame"];
        let ended = guarded.swaks(&[&tls[..], &auth, &wrong].concat()).unwrap();
        ended.expect(28, &["535 5.7.8 "]);
    }
    // Without a name nothing is taken.
    guarded.swaks(&[]).unwrap().expect(23, &["530 5.7.0 "]);
    assert_eq!(guarded.arrived(), 2);
}

#[test]
fn swaks_logs_in_with_tls_from_the_first_byte() {
    let Some(guarded) = Guarded::start(true) else {
        return;
    };
    let tls = [
        "--tls-on-connect",
        "--tls-verify",
        "--tls-ca-path",
        &guarded.certificate,
    ];
    let auth = [
        "--auth",
        "PLAIN",
        "--auth-user",
        "alice",
        "--auth-password",
        "open: sesame",
    ];
    let Some(ended) = guarded.swaks(&[&tls[..], &auth].concat()) else {
        return;
    };
    ended.expect(0, &["235 2.7.0", "250 2.0.0 kept as 0"]);
    assert_eq!(guarded.arrived(), 1);
}

#[test]
fn smtplib_logs_in_behind_either_kind_of_tls() {
    for implicit in [false, true] {
        let Some(guarded) = Guarded::start(implicit) else {
            return;
        };
        let mut tls = vec!["--ca", &guarded.certificate];
        tls.extend(implicit.then_some("--implicit"));
        let user = ["--user", "alice"];
        let Some(ended) =
            guarded.smtplib(&[&tls[..], &user, &["--password", "open: sesame"]].concat())
        else {
            return;
        };
        ended.expect(0, &["\"auth\"", "\"code\": 250", "kept as 0"]);
        let ended = guarded.smtplib(&[&tls[..], &user, &["--password", "guess"]].concat());
        // It tries both mechanisms, and goes on without looking at what it is told.
        ended
            .unwrap()
            .expect(0, &["\"login\": 535", "\"code\": 503"]);
        assert_eq!(guarded.arrived(), 1);
    }
}

#[test]
fn nodemailer_logs_in_where_it_requires_tls() {
    let Some(guarded) = Guarded::start(false) else {
        return;
    };
    let (Some(node), Some(library)) = (peer("node"), peer("nodemailer")) else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/mailer.mjs");
    for (count, mechanism) in MECHANISMS.iter().enumerate() {
        let send = |password: &str| {
            let options = format!(
                r#"{{"requireTLS": true, "authMethod": "{mechanism}", "tls": {{"servername": "localhost"}},
                "auth": {{"user": "alice", "pass": "{password}"}}}}"#
            );
            let mut command = Command::new(&node);
            command
                .arg(&script)
                .arg(&library)
                .arg(guarded.bridge.port.to_string())
                .args([&guarded.letter, "bob@example.net"])
                .env("NODE_EXTRA_CA_CERTS", &guarded.certificate)
                .env("MAILER_OPTIONS", options);
            run(&mut command)
        };
        send("guess").expect(0, &["\"code\":535"]);
        send("open: sesame").expect(
            0,
            &[
                "\"accepted\":[\"bob@example.net\"]",
                &format!("kept as {count}"),
            ],
        );
    }
    assert_eq!(guarded.arrived(), 2);
}

#[test]
fn what_is_said_in_clear_behind_starttls_is_not_heard_behind_tls() {
    let Some(guarded) = Guarded::start(false) else {
        return;
    };
    let inject = |more: &[&str]| {
        let mut command = python("injector.py")?;
        command.args(["--port", &guarded.bridge.port.to_string()]);
        command.args(["--ca", &guarded.certificate]).args(more);
        Some(run(&mut command))
    };
    let Some(ended) = inject(&[]) else { return };
    // The first reply behind TLS is the one to what was said there.
    let heard = "clear: 220 2.0.0 Ready to start TLS\nsecure: 250 2.0.0 Ok\nsecure: 221 2.0.0 Bye\nthen: (end)";
    ended.expect(0, &[heard]);
    // What comes later is taken for TLS, which it is not.
    inject(&["--again"]).unwrap().expect(0, &["no TLS: "]);
}

/// Nothing comes of a message, and the relay says why. Its client tries again, which is not waited for.
fn fails(relay: &RelayServer, why: &str) {
    let letter = b"Subject: x\r\n\r\nx\r\n";
    let _sending = sending(&relay.url, &["--to", "bob@example.net"], letter);
    relay.process.wait_for(why);
}

#[test]
fn a_relay_logs_in_to_its_mail_server_behind_starttls() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name, content: &str| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = certificate();
    let (certificate, key) = (file("cert.pem", &certificate), file("key.pem", &key));
    let right = file("right", "open: sesame\n");
    let wrong = file("wrong", "guess\n");
    let letter = b"Subject: x\r\n\r\nx\r\n";
    let to = ["--to", "bob@example.net"];
    for login_only in [false, true] {
        let mut guard = vec![
            "--tls",
            &certificate,
            &key,
            "--user",
            "alice",
            "open: sesame",
        ];
        guard.extend(login_only.then_some("--login-only"));
        let Some(server) = MailServer::with(&guard) else {
            return;
        };
        let relay = |scheme: &str, more: &[&str]| {
            let upstream = format!("{scheme}://localhost:{}", server.port);
            RelayServer::start(&[&["--upstream", &upstream], more].concat())
        };
        let trust = ["--upstream-ca", &certificate];
        let login = ["--upstream-user", "alice", "--upstream-password-file"];
        let knows = relay("smtp+starttls", &[&trust[..], &login, &[&right]].concat());
        send(&knows.url, &to, letter).expect(0, &["accepted: 250 2.0.0 kept as 0"]);

        let guesses = relay("smtp+starttls", &[&trust[..], &login, &[&wrong]].concat());
        let refusal = "credentials refused: 535 5.7.8 Authentication credentials invalid link=in-0";
        fails(&guesses, refusal);

        let trusts_nobody = relay("smtp+starttls", &[&login[..], &[&right]].concat());
        let distrust = "issuer is not trusted; add its root certificate if it should be link=in-0";
        fails(&trusts_nobody, distrust);

        // In clear this server takes no mail, and says so itself.
        let in_clear = relay("smtp", &[]);
        send(&in_clear.url, &to, letter).expect(5, &["530 "]);
        assert_eq!(server.messages().len(), 1);
    }
}

#[test]
fn a_relay_that_wants_tls_sends_nothing_to_a_server_without() {
    let Some(server) = MailServer::start(&[]) else {
        return;
    };
    let upstream = format!("smtp+starttls://localhost:{}", server.port);
    let relay = RelayServer::start(&["--upstream", &upstream]);
    fails(&relay, "channel failed: STARTTLS is not offered link=in-0");
    assert!(server.messages().is_empty());
}
