//! Key-value peers that others have written: the published HPKV client before our service, and our client before a service of
//! some lines of JavaScript.

mod plain_service;
mod published_client;

use crate::support::{KEY, PATIENCE, Process, peer, relay};
use serde_json::{Value, json};
use std::{path::PathBuf, process::Command};
use tempfile::TempDir;

/// Where the packages are; `None` where they are not there, which is said.
fn packages() -> Option<PathBuf> {
    peer("key_value")
}

/// One of the scripts beside this file, with the packages it needs.
fn script(name: &str) -> Option<Command> {
    let (node, packages) = (peer("node")?, packages()?);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/key_value/").to_owned() + name;
    let mut command = Command::new(node);
    command.arg(path).arg(packages);
    Some(command)
}

/// A running `relay serve --kv`.
struct KeyValueServer {
    process: Process,
    port: u16,
    directory: TempDir,
}

impl KeyValueServer {
    fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), 0, arguments)
    }

    fn start_in(directory: TempDir, port: u16, arguments: &[&str]) -> Self {
        let mut command = relay();
        let listen = format!("127.0.0.1:{port}");
        command.args(["serve", "--kv-listen", &listen, "--kv"]);
        command.arg(directory.path()).args(arguments);
        let process = Process::start(&mut command, b"");
        let before = "keys and values on ws://127.0.0.1:";
        let port = process.find(|line| line.strip_prefix(before)?.parse().ok());
        Self {
            port: port.unwrap_or_else(|| panic!("has not started: {}", process.so_far())),
            process,
            directory,
        }
    }

    /// Kills it, and starts another with its store at its place.
    fn replace(self) -> Self {
        let Self {
            process,
            port,
            directory,
        } = self;
        drop(process);
        Self::start_in(directory, port, &[])
    }
}

/// A script that carries out commands, each a line of JSON, and says what came of them.
struct Script {
    process: Process,
    commands: u64,
}

impl Script {
    fn start(name: &str) -> Option<Self> {
        let process = Process::talk(&mut script(name)?);
        Some(Self {
            process,
            commands: 0,
        })
    }

    /// Gives it a command, and returns the number it is answered by.
    fn tell(&mut self, mut command: Value) -> u64 {
        self.commands += 1;
        command["id"] = self.commands.into();
        self.process.say(&command.to_string());
        self.commands
    }

    /// What came of a command.
    #[track_caller]
    fn outcome(&self, id: u64) -> Value {
        self.hear(|said| (said["id"] == id).then(|| said.clone()))
    }

    /// Gives it a command, and waits for what comes of it.
    #[track_caller]
    fn ask(&mut self, command: Value) -> Value {
        let id = self.tell(command);
        self.outcome(id)
    }

    /// Waits for something it says.
    #[track_caller]
    fn hear<R>(&self, mut find: impl FnMut(&Value) -> Option<R>) -> R {
        let heard = self.process.find(|line| {
            let said: Value = serde_json::from_str(line).ok()?;
            find(&said)
        });
        heard.unwrap_or_else(|| panic!("not said in {PATIENCE:?}: {}", self.process.so_far()))
    }

    /// How often it has said something until now.
    fn count(&self, mut is_meant: impl FnMut(&Value) -> bool) -> usize {
        let said = self.process.so_far();
        let said = said
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        said.filter(|said: &Value| is_meant(said)).count()
    }
}

/// A command that makes a client of the published package which does not hold itself back.
fn open(name: &str, port: u16, credential: (&str, &str)) -> Value {
    let options = json!({
        "throttling": { "enabled": false },
        "initialDelayBetweenReconnects": 50,
        "maxReconnectAttempts": 200,
        "maxDelayBetweenReconnects": 100,
    });
    let (kind, secret) = credential;
    json!({ "open": name, "url": format!("ws://127.0.0.1:{port}"), kind: secret, "options": options })
}

fn call(name: &str, method: &str, arguments: Value) -> Value {
    json!({ "on": name, "call": method, "with": arguments })
}

fn ask_for_token(port: u16, key: &str, scope: Value) -> Value {
    json!({ "token": scope, "url": format!("http://127.0.0.1:{port}"), "apiKey": key })
}

/// A client with the key, connected.
#[track_caller]
fn connect(script: &mut Script, name: &str, port: u16) {
    let opened = script.ask(open(name, port, ("apiKey", KEY)));
    assert!(opened["error"].is_null(), "{opened}");
    let connected = script.ask(call(name, "connect", json!([])));
    assert!(connected["error"].is_null(), "{connected}");
}
