//! Our client, as `relay kv`, before a service that speaks the plain words and has its faults.

use super::Script;
use crate::support::{Ended, Process, relay};
use serde_json::{Value, json};
use std::process::Command;

struct PlainService {
    script: Script,
    url: String,
}

impl PlainService {
    fn start() -> Option<Self> {
        let script = Script::start("service.mjs")?;
        let port = script.hear(|said| said["port"].as_u64());
        let url = format!("http://127.0.0.1:{port}");
        Some(Self { script, url })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = relay();
        command.env("RELAY_API_KEY", "key").arg("kv").args(words);
        command.args(["--url", &self.url]);
        command
    }

    fn kv(&self, words: &[&str]) -> Ended {
        Process::start(&mut self.command(words), b"").wait()
    }

    /// Gives the service a command.
    fn order(&mut self, command: Value) {
        self.script.process.say(&command.to_string());
    }
}

#[test]
fn every_command_works_before_a_service_that_is_not_ours() {
    let Some(service) = PlainService::start() else {
        return;
    };
    service.kv(&["set", "a", "one"]).expect(0, &[]);
    service.kv(&["get", "a"]).expect(0, &["one"]);
    service.kv(&["set", "b", r#"{"x":1}"#]).expect(0, &[]);
    service.kv(&["patch", "b", r#"{"y":2}"#]).expect(0, &[]);
    service.kv(&["get", "b"]).expect(0, &[r#"{"x":1,"y":2}"#]);
    service.kv(&["incr", "n", "5"]).expect(0, &["5"]);
    service.kv(&["incr", "n", "-7"]).expect(0, &["-2"]);
    service
        .kv(&["range", "a", "z", "--limit", "1"])
        .expect(0, &["a\tone", "there are more"]);
    service
        .kv(&["range", "n", "n", "--json"])
        .expect(0, &[r#"{"key":"n","value":"-2"}"#]);
    service.kv(&["delete", "a"]).expect(0, &[]);
    service.kv(&["get", "a"]).expect(1, &["Record not found"]);
    service
        .kv(&["delete", "a"])
        .expect(1, &["Record not found"]);
    service
        .kv(&["get", "b", "--api-key", "wrong"])
        .expect(3, &["refused the key"]);
    service
        .kv(&["token", "--api-key", "wrong"])
        .expect(3, &["does not accept the key"]);
    let token = service.kv(&["token", "--subscribe", "a", "--access", "b"]);
    token.expect(0, &["token-1"]);
    service
        .kv(&["get", "b", "--token", "token-1", "--api-key", "key"])
        .expect(2, &["--token excludes"]);
}

#[test]
fn a_token_reaches_as_far_as_it_was_made_for() {
    let Some(service) = PlainService::start() else {
        return;
    };
    service.kv(&["set", "mine", "1"]).expect(0, &[]);
    service
        .kv(&["token", "--access", "mine"])
        .expect(0, &["token-1"]);
    let with_token = |key| {
        let mut command = service.command(&["get", key, "--token", "token-1"]);
        Process::start(command.env_remove("RELAY_API_KEY"), b"").wait()
    };
    with_token("mine").expect(0, &["1"]);
    with_token("other").expect(5, &["Access denied"]);
}

#[test]
fn a_service_that_is_busy_is_asked_again() {
    let Some(mut service) = PlainService::start() else {
        return;
    };
    service.order(json!({ "busy": 2 }));
    service.kv(&["incr", "n"]).expect(0, &["1"]);
    service.kv(&["get", "n"]).expect(0, &["1"]);
}

#[test]
fn a_change_whose_answer_got_lost_is_in_doubt_and_says_so() {
    let Some(mut service) = PlainService::start() else {
        return;
    };
    service.order(json!({ "mute": true }));
    let increment = Process::start(&mut service.command(&["incr", "n", "--plain"]), b"");
    service
        .script
        .hear(|said| (said["request"]["op"] == 6).then_some(()));
    service.order(json!({ "drop": true }));
    increment
        .wait()
        .expect(6, &["may or may not have been applied"]);
    service.order(json!({ "mute": false }));
    service.kv(&["get", "n"]).expect(0, &["1"]);
}

#[test]
fn a_watcher_lives_through_what_no_service_should_say() {
    let Some(mut service) = PlainService::start() else {
        return;
    };
    let watch = Process::start(&mut service.command(&["watch", "k*", "--count", "2"]), b"");
    watch.wait_for("watching");
    for text in [
        "null",
        "42",
        "\"x\"",
        "hello",
        "[]",
        "{}",
        r#"{"messageId":"1","code":"200"}"#,
        r#"{"type":"notification"}"#,
    ] {
        service.order(json!({ "say": text }));
    }
    service.order(json!({ "binary": "AAEC" }));
    service.kv(&["set", "k1", "one"]).expect(0, &[]);
    watch.wait_for("k1\tone");
    // What was cut is restored, and goes on.
    service.order(json!({ "drop": true }));
    let connected = |line: &str| (line == "watching").then_some(());
    let mut times = 0;
    assert!(
        watch
            .find(|line| {
                times += usize::from(connected(line).is_some());
                (times == 2).then_some(())
            })
            .is_some()
    );
    service.kv(&["set", "k2", "two"]).expect(0, &[]);
    watch.wait().expect(0, &["k2\ttwo"]);
}
