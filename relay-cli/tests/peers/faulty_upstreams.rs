//! Before a mail server that fails at every step: nothing is lost in silence, nothing certain is sent twice.

use crate::support::{RelayServer, Sink, send, sending};

const LETTER: &[u8] = b"Subject: x\r\n\r\n.dot\r\n\xE9\r\n";

/// Sends a message through a relay to a sink with these options: exit code, what is said, how often it arrived.
#[track_caller]
fn expect(options: &[&str], code: i32, said: &[&str], deliveries: usize) {
    let Some(sink) = Sink::start(options) else {
        return;
    };
    let relay = RelayServer::before(sink.port);
    send(&relay.url, &["--to", "bob@example.net"], LETTER).expect(code, said);
    let messages = sink.messages();
    assert_eq!(messages.len(), deliveries);
    for message in messages {
        assert_eq!(message, b"Subject: x\n\n.dot\n\xE9\n");
    }
}

#[test]
fn a_good_one_gets_the_message_once() {
    expect(&[], 0, &["accepted: 250 2.0.0"], 1);
}

#[test]
fn one_that_knows_no_extension_gets_what_needs_none() {
    let Some(sink) = Sink::start(&["-e"]) else {
        return;
    };
    let relay = RelayServer::before(sink.port);
    let content = b"Subject: x\r\n\r\ny\r\n";
    send(&relay.url, &["--to", "bob@example.net"], content).expect(0, &["accepted"]);
    assert_eq!(sink.messages(), [b"Subject: x\n\ny\n"]);
}

#[test]
fn a_refusal_of_the_recipient_is_final() {
    expect(&["-f", "RCPT"], 5, &["failed: ", "500 5.3.0"], 0);
}

#[test]
fn a_refusal_of_the_content_is_final() {
    // The sink keeps what it refuses as well, so this counts the attempts.
    expect(&["-f", "."], 5, &["failed: ", "500 5.3.0"], 1);
}

#[test]
fn a_refusal_for_the_moment_is_tried_again() {
    expect(&["-r", "."], 5, &["failed: ", "450 4.3.0"], 4);
}

#[test]
fn a_421_at_mail_is_tried_again_and_reported() {
    expect(&["-Q", "MAIL"], 5, &["failed: ", "421 4.0.0"], 0);
}

#[test]
fn a_cut_after_mail_is_no_doubt() {
    let said = [
        "at MAIL: 451 4.4.2 Nothing was delivered",
        "closed the connection",
    ];
    expect(&["-q", "MAIL"], 5, &said, 0);
}

#[test]
fn a_cut_after_data_is_no_doubt() {
    let said = ["nothing was delivered", "closed the connection"];
    expect(&["-q", "DATA"], 5, &said, 0);
}

#[test]
fn a_refusal_in_the_middle_of_the_content_is_heard() {
    let Some(sink) = Sink::start(&["-A", "0"]) else {
        return;
    };
    let relay = RelayServer::before(sink.port);
    let content = b"0123456789abcdef\r\n".repeat(300_000);
    let sent = send(&relay.url, &["--to", "bob@example.net"], &content);
    sent.expect(5, &["failed: ", "550"]);
    assert!(sink.dumps().len() <= 1);
}

#[test]
fn a_cut_after_the_final_dot_is_in_doubt_and_said_to_be() {
    // Once more, as the client's policy says, and not a third time.
    expect(&["-q", "."], 6, &["may or may not have been delivered"], 2);
}

#[test]
fn none_at_all_is_for_the_moment() {
    let Some(sink) = Sink::start(&[]) else {
        return;
    };
    let port = sink.port;
    drop(sink);
    let relay = RelayServer::before(port);
    let sent = send(&relay.url, &["--to", "bob@example.net"], LETTER);
    sent.expect(
        5,
        &[
            "at MAIL: 451 4.4.2 Nothing was delivered",
            "cannot be reached",
        ],
    );
}

#[test]
fn a_relay_that_dies_before_the_final_reply_leaves_a_doubt() {
    let Some(sink) = Sink::start(&["-v", "-W", ".:300"]) else {
        return;
    };
    let relay = RelayServer::before(sink.port);
    let arguments = ["--attempts", "1", "--to", "bob@example.net"];
    let sending = sending(&relay.url, &arguments, LETTER);
    sink.process.wait_for(": .");
    drop(relay);
    sending
        .wait()
        .expect(6, &["may or may not have been delivered"]);
}

#[test]
fn a_relay_that_dies_in_the_middle_and_comes_back_gets_the_message_again() {
    // This one does not read content, so the message stays on the way.
    let Some(stuck) = Sink::start(&["-v", "-H", "300"]) else {
        return;
    };
    let Some(good) = Sink::start(&[]) else {
        return;
    };
    let relay = RelayServer::before(stuck.port);
    let content = b"0123456789abcdef\r\n".repeat(1_000_000);
    let arguments = ["--attempts", "10", "--to", "bob@example.net"];
    let sending = sending(&relay.url, &arguments, &content);
    stuck.process.wait_for(": DATA");
    let relay = relay.replace(good.port);
    // Nothing about doubt or about having sent it twice: the first try was not whole.
    let ended = sending.wait();
    ended.expect(0, &["accepted: 250 2.0.0"]);
    assert!(!ended.output.contains("twice"), "{}", ended.output);
    assert_eq!(good.messages(), [b"0123456789abcdef\n".repeat(1_000_000)]);
    drop(relay);
}
