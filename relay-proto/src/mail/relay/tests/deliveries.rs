//! What the ledger does to deliveries.

use super::{
    peer::{MODERN, Peer, message, take_message},
    rig::{Rig, config, pooled, seconds},
};
use crate::{
    LinkId,
    mail::relay::{Event, RelayConfig},
    storage::{Record, StorageError, Write},
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::time::Duration;

const REPLIES: &str = "250 2.1.0 fine\r\n250 2.1.5 fine\r\n";

fn full() -> StorageError {
    StorageError::Full {
        detail: "no space left".into(),
    }
}

fn records(writes: Vec<Write>) -> Vec<Record> {
    let record = |write| match write {
        Write::Put { table, key, value } => Some(Record {
            table: table.to_string(),
            key,
            value,
            age: Duration::ZERO,
        }),
        Write::Delete { .. } => None,
    };
    writes.into_iter().filter_map(record).collect()
}

/// A client and an upstream that has taken the recipients, in a relay with a storage.
fn addressed(config: RelayConfig) -> (Rig, Peer, u64, LinkId) {
    let mut rig = Rig::storing(config, vec![]);
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.send(1, None);
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    rig.upstream_hears(upstream);
    rig.upstream_says(upstream, REPLIES);
    peer.talk(&mut rig);
    peer.hears(channel);
    (rig, peer, channel, upstream)
}

#[test]
fn the_end_of_data_waits_for_the_intent_and_the_reply_for_the_outcome() {
    let (mut rig, mut peer, channel, upstream) = addressed(pooled());
    assert_eq!(rig.upstream_hears(upstream), "", "the intent is not stored");
    rig.pass_alive(seconds(1));
    assert_eq!(rig.upstream_hears(upstream), "");
    rig.stored(Ok(()));
    assert!(rig.upstream_hears(upstream).starts_with("BDAT "));
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "", "the outcome is not stored");
    let asking = peer.send(1, None);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(asking), "");
    rig.stored(Ok(()));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "250 2.0.0 queued\r\n");
    assert_eq!(peer.hears(asking), "[outcome 250 2.0.0 queued]");
    assert!(rig.batches.is_empty() && rig.mails == 1);
}

#[test]
fn while_the_ledger_cannot_be_written_messages_are_refused_for_the_moment() {
    let (mut rig, mut peer, channel, upstream) = addressed(pooled());
    rig.stored(Err(full()));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "[error 451, later]");
    let heard = rig.upstream_hears(upstream);
    assert!(!heard.contains("BDAT"), "{heard:?}");
    assert!(rig.events.contains(&Event::StorageFailed { error: full() }));
    let failed = |event: &Event| matches!(event, Event::ChannelFailed { why, .. } if why.contains("no space left"));
    assert!(rig.events.iter().any(failed));
    rig.upstream_says(upstream, "250 reset\r\n");

    // It is known to fail, so the next is refused without trying.
    let next = peer.send(2, None);
    peer.talk(&mut rig);
    rig.upstream_hears(upstream);
    rig.upstream_says(upstream, REPLIES);
    peer.talk(&mut rig);
    assert!(peer.hears(next).ends_with("[error 451, later]"));
    rig.upstream_says(upstream, "250 reset\r\n");

    rig.pass_alive(seconds(2));
    rig.stored(Ok(()));
    assert!(rig.events.contains(&Event::StorageRecovered));
    let again = peer.send(1, None);
    peer.talk(&mut rig);
    rig.upstream_hears(upstream);
    rig.upstream_says(upstream, REPLIES);
    rig.stored(Ok(()));
    assert!(rig.upstream_hears(upstream).starts_with("BDAT "));
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    rig.stored(Ok(()));
    peer.talk(&mut rig);
    assert!(peer.hears(again).ends_with("250 2.0.0 queued\r\n"));
}

#[test]
fn an_outcome_that_cannot_be_stored_is_held_back_until_it_can() {
    let (mut rig, mut peer, channel, upstream) = addressed(pooled());
    rig.stored(Ok(()));
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    rig.stored(Err(full()));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "");
    rig.pass_alive(seconds(1));
    rig.stored(Ok(()));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "250 2.0.0 queued\r\n");
}

#[test]
fn an_outcome_whose_time_is_up_when_it_is_stored_is_told_before_it_is_forgotten() {
    let mut config = pooled();
    config.ledger.age = seconds(1);
    let (mut rig, mut peer, channel, upstream) = addressed(config);
    rig.stored(Ok(()));
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    rig.now = rig.now.after(seconds(2));
    rig.stored(Ok(()));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "250 2.0.0 queued\r\n");
}

#[test]
fn a_session_that_only_an_outcome_has_kept_ends_with_it() {
    let (mut rig, mut peer, _, upstream) = addressed(pooled());
    rig.stored(Ok(()));
    peer.cut(&mut rig);
    rig.pass(seconds(3 * 60));
    assert_eq!(rig.pump.machine().sessions(), 1, "it is past its end");
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    rig.stored(Ok(()));
    assert_eq!(rig.pump.machine().sessions(), 0);
}

#[test]
fn the_ledger_answers_for_what_it_knows_and_doubts_what_it_may_have_forgotten() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let mark = peer.grant.ledger_mark.clone();
    let first = peer.send(1, None);
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);

    // Under way: what comes on the second channel goes nowhere, and uses up no credit.
    let second = peer.open(1, Some(&mark));
    peer.say(second, &message(1).repeat(10_000));
    peer.talk(&mut rig);
    assert_eq!(peer.channels.room(second), usize::MAX, "all is credited");
    assert_eq!(peer.hears(second), "");
    rig.upstream_says(upstream, "554 5.6.0 no\r\n");
    peer.talk(&mut rig);
    assert!(peer.hears(first).ends_with("554 5.6.0 no\r\n"));
    assert_eq!(peer.hears(second), "[outcome 554 5.6.0 no]");

    // Settled.
    for sent_under in [None, Some(&*mark), Some("another's")] {
        let third = peer.send(1, sent_under);
        peer.talk(&mut rig);
        assert_eq!(peer.hears(third), "[outcome 554 5.6.0 no]");
    }
    // Unknown, and it would know.
    for (number, sent_under) in [(2, None), (3, Some(&*mark))] {
        let fresh = peer.open(number, sent_under);
        peer.talk(&mut rig);
        assert_eq!(peer.hears(fresh), "[ready]");
    }
    // Unknown, and it need not know.
    let doubted = peer.send(4, Some("another's"));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(doubted), "[in doubt]");
    assert_eq!(rig.mails, 1);
}

#[test]
fn an_upstream_lost_past_the_end_of_data_leaves_the_message_in_doubt() {
    let (mut rig, mut peer, channel, upstream) = addressed(pooled());
    rig.stored(Ok(()));
    rig.lose(upstream);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "");
    rig.stored(Ok(()));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "[in doubt]");
    let again = peer.send(1, None);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(again), "[in doubt]");
    assert_eq!(rig.mails, 1);
}

#[test]
fn before_the_end_of_data_a_lost_upstream_leaves_nothing_in_the_ledger() {
    // The intent is being stored, or the upstream is at work on the content.
    let (mut rig, mut peer, channel, upstream) = addressed(pooled());
    rig.lose(upstream);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "[error 451]");
    rig.stored(Ok(()));
    let deleted = rig.stored(Ok(()));
    assert!(matches!(deleted[..], [Write::Delete { .. }]), "{deleted:?}");
    let again = peer.send(1, None);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(again), "[ready]");
}

#[test]
fn a_message_whose_content_is_refused_before_its_end_is_in_the_ledger_like_one_refused_at_its_end()
{
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let first = peer.send(1, None);
    peer.talk(&mut rig);
    let upstream = rig.greet("250-mx.example\r\n250 PIPELINING\r\n");
    rig.upstream_says(
        upstream,
        "250 fine\r\n250 fine\r\n451 4.3.1 no room for data\r\n",
    );
    peer.talk(&mut rig);
    let heard = peer.hears(first);
    assert!(
        heard.ends_with("451 4.3.1 no room for data\r\n"),
        "{heard:?}"
    );
    rig.upstream_says(upstream, "250 reset\r\n");
    // The client takes another name for the next try. What comes under this one is an old attempt, and is not delivered.
    let second = peer.send(1, None);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(second), "[outcome 451 4.3.1 no room for data]");
    assert_eq!(rig.mails, 1);
}

#[test]
fn a_message_whose_recipients_are_refused_is_not_in_the_ledger() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let first = peer.send(1, None);
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    rig.upstream_says(upstream, "250 fine\r\n450 4.2.1 busy\r\n");
    peer.talk(&mut rig);
    assert!(peer.hears(first).contains("450 4.2.1 busy\r\n"));
    assert!(rig.pump.machine().ledger.is_empty());
}

#[test]
fn what_an_idle_channel_is_told_is_no_answer_to_the_end_of_data() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.open(1, None);
    peer.say(
        channel,
        "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n",
    );
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    rig.upstream_says(upstream, REPLIES);
    peer.talk(&mut rig);
    peer.hears(channel);
    for _ in 0..30 {
        rig.pass_alive(seconds(10));
        peer.talk(&mut rig);
    }
    assert_eq!(peer.hears(channel), "[error 421, later]");
}

#[test]
fn the_outcome_names_the_recipients_that_were_refused() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let first = peer.open(1, None);
    peer.say(
        first,
        "MAIL FROM:<a@b.example>\r\nRCPT TO:<no@d.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<busy@d.example>\r\nBDAT 3 LAST\r\nx\r\n",
    );
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    rig.upstream_says(
        upstream,
        "250 fine\r\n550 5.1.1 who\r\n250 fine\r\n450 4.2.1 busy\r\n",
    );
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    assert!(peer.hears(first).ends_with("250 2.0.0 queued\r\n"));
    let again = peer.send(1, None);
    peer.talk(&mut rig);
    assert_eq!(
        peer.hears(again),
        "[outcome 250 2.0.0 queued, <no@d.example>: 550 5.1.1 who, <busy@d.example>: 450 4.2.1 busy]"
    );
}

#[test]
fn of_two_channels_with_one_delivery_the_later_goes_on() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let (first, second) = (peer.send(1, None), peer.send(1, None));
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    rig.upstream_says(upstream, REPLIES);
    assert!(rig.upstream_hears(upstream).contains("LAST"));
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    let told = peer.hears(first);
    assert!(told.contains("error"), "{told}");
    assert!(peer.hears(second).ends_with("250 2.0.0 queued\r\n"));
    assert_eq!(rig.mails, 1);
}

#[test]
fn who_waits_for_an_attempt_that_does_not_begin_may_try_for_itself() {
    let (mut rig, mut peer, channel, _) = addressed(pooled());
    let waiting = peer.send(1, None);
    peer.talk(&mut rig);
    assert_eq!(peer.hears(waiting), "");
    rig.stored(Err(full()));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel), "[error 451, later]");
    assert_eq!(peer.hears(waiting), "[error 451, later]");
}

#[test]
fn a_session_that_expires_while_the_intent_is_stored_forwards_nothing() {
    let (mut rig, mut peer, _, upstream) = addressed(config());
    peer.cut(&mut rig);
    rig.pass(seconds(121));
    assert_eq!(rig.upstream_hears(upstream), "QUIT\r\n");
    rig.stored(Ok(()));
    assert_eq!(rig.upstream_hears(upstream), "");
    let deleted = rig.stored(Ok(()));
    assert!(matches!(deleted[..], [Write::Delete { .. }]), "{deleted:?}");
}

#[test]
fn the_next_relay_with_the_same_storage_answers_for_this_one() {
    let (mut rig, peer, _, upstream) = addressed(pooled());
    let mark = peer.grant.ledger_mark;
    let mut disk = records(rig.stored(Ok(())));
    let intent = disk.clone();
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    for record in records(rig.stored(Ok(()))) {
        disk.retain(|old| old.key != record.key);
        disk.push(record);
    }
    for (disk, expected) in [(disk, "[outcome 250 2.0.0 queued]"), (intent, "[in doubt]")] {
        let mut rig = Rig::storing(pooled(), disk);
        let mut peer = Peer::connect(&mut rig, 0);
        let again = peer.send(1, Some(&mark));
        let never = peer.open(2, Some(&mark));
        peer.talk(&mut rig);
        assert_eq!(peer.hears(again), expected);
        assert_eq!(peer.hears(never), "[ready]", "it was never begun");
    }
    // One that has no storage knows that it knows nothing.
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let again = peer.send(1, Some(&mark));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(again), "[in doubt]");
}

#[test]
fn a_drain_waits_for_the_storage() {
    let (mut rig, mut peer, channel, upstream) = addressed(config());
    rig.stored(Ok(()));
    let now = rig.now;
    rig.pump
        .command(now, |relay, now| relay.drain(now, now.after(seconds(25))));
    rig.run();
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.cut(&mut rig);
    rig.upstream_says(upstream, "221 bye\r\n");
    assert!(!rig.finished);
    rig.stored(Ok(()));
    assert!(rig.finished);
    assert_eq!(peer.hears(channel), "");
}

#[test]
fn recipients_that_are_too_many_are_refused_by_name() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect(&mut rig, 0);
    let channel = peer.open(1, None);
    let mut said = String::from("MAIL FROM:<a@b.example>\r\n");
    for number in 0..102 {
        said.push_str(&format!("RCPT TO:<r{number}@d.example>\r\n"));
    }
    peer.say(channel, &format!("{said}BDAT 3 LAST\r\nx\r\n"));
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    assert_eq!(rig.upstream_hears(upstream).matches("RCPT").count(), 100);
    rig.upstream_says(upstream, &"250 fine\r\n".repeat(101));
    assert!(rig.upstream_hears(upstream).starts_with("BDAT 3 LAST"));
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.talk(&mut rig);
    assert_eq!(peer.hears(channel).matches("452 4.5.3").count(), 2);
    let again = peer.send(1, None);
    peer.talk(&mut rig);
    let heard = peer.hears(again);
    for refused in ["<r100@d.example>: 452", "<r101@d.example>: 452"] {
        assert!(heard.contains(refused), "{heard}");
    }
}

#[test]
fn a_delivery_that_was_sent_under_another_key_is_in_doubt_and_not_sent_again() {
    let mut rig = Rig::new(pooled());
    let mut peer = Peer::connect_as(&mut rig, 0, "the old key");
    let mark = peer.grant.ledger_mark.clone();
    peer.send(1, None);
    peer.talk(&mut rig);
    let upstream = rig.greet(MODERN);
    take_message(&mut rig, upstream);
    rig.upstream_says(upstream, "250 2.0.0 queued\r\n");
    peer.cut(&mut rig);

    let mut peer = Peer::connect_as(&mut rig, 1, "the new key");
    let again = peer.send(1, Some(&mark));
    peer.talk(&mut rig);
    assert_eq!(peer.hears(again), "[in doubt]");
    assert_eq!(rig.mails, 1);
}
