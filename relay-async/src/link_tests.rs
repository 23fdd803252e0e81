use super::*;
use crate::{
    conversation::{BATCH_BYTES, FRAMES_PER_BATCH},
    test_clock::TestClock,
};
use futures_util::io::Cursor;
use std::{
    collections::VecDeque,
    sync::Mutex,
    task::{Context, Poll},
};

/// What a transport was asked to do, and what it answers.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    taken: Vec<Frame>,
    flushes: usize,
    waiting: VecDeque<Frame>,
    limits: Vec<usize>,
    writing_fails: bool,
    flushes_before_tls: Option<usize>,
}

struct Counting {
    counts: Counts,
    socket: Cursor<Vec<u8>>,
}

impl Transport for Counting {
    type Socket = Cursor<Vec<u8>>;

    fn poll_frame(&mut self, _: &mut Context<'_>, limit: usize) -> Poll<Result<Frame, Closure>> {
        let mut calls = self.counts.0.lock().unwrap();
        match calls.waiting.pop_front() {
            Some(frame) => {
                calls.limits.push(limit);
                Poll::Ready(Ok(frame))
            }
            None => Poll::Pending,
        }
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closure>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, frame: Frame) -> Result<(), Closure> {
        self.counts.0.lock().unwrap().taken.push(frame);
        Ok(())
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closure>> {
        let mut calls = self.counts.0.lock().unwrap();
        calls.flushes += 1;
        Poll::Ready(if calls.writing_fails {
            Err(broken_pipe())
        } else {
            Ok(())
        })
    }

    async fn say_goodbye(&mut self, _: CloseCode, _: &str) {}

    async fn answer(&mut self, _: &Closure) {}

    async fn start_tls(self) -> Result<Self, (Closure, Option<Self>)> {
        let mut calls = self.counts.0.lock().unwrap();
        calls.flushes_before_tls = Some(calls.flushes);
        drop(calls);
        Ok(self)
    }

    fn socket(&mut self) -> &mut Self::Socket {
        &mut self.socket
    }
}

/// Passes on what it hears.
struct Hearsay(mpsc::UnboundedSender<Fact>);

impl Hear for Hearsay {
    fn hear(&self, fact: Fact) {
        self.0.send(fact).expect("somebody listens");
    }
}

struct Rig {
    counts: Counts,
    handle: Handle,
    facts: mpsc::UnboundedReceiver<Fact>,
    /// Of the fact that came last, what was not asked for yet.
    rest: VecDeque<Input>,
    link: Option<Link>,
}

impl Rig {
    /// The next input for the machine; none once the link's task is gone.
    async fn next(&mut self) -> Option<Input> {
        if self.rest.is_empty() {
            let next = timeout::<TestClock, _>(Duration::from_secs(30), self.facts.recv());
            self.rest = match next.await.expect("hangs")? {
                Fact::Accepted { input, .. } | Fact::Other(input) => [input].into(),
                Fact::Frames { link, frames } => {
                    frames.map(|frame| Input::Frame { link, frame }).collect()
                }
                Fact::Written { link, frames } => {
                    (0..frames).map(|_| Input::Written { link }).collect()
                }
            };
        }
        self.rest.pop_front()
    }
}

fn rig() -> Rig {
    let (facts, received) = mpsc::unbounded_channel();
    let (alive, _) = mpsc::channel(1);
    let reports = Reports::new(Arc::new(Hearsay(facts)), alive);
    let (handle, link) = new(LinkId::dialled(0), reports, Duration::from_millis(10));
    Rig {
        counts: Counts::default(),
        handle,
        facts: received,
        rest: VecDeque::new(),
        link: Some(link),
    }
}

fn broken_pipe() -> Closure {
    let detail = "broken pipe".to_owned();
    Closure::Lost { detail }
}

fn frame(number: usize) -> Frame {
    Frame::Text(number.to_string().into())
}

impl Rig {
    fn start(&mut self) {
        let counts = self.counts.clone();
        let link = self.link.take().unwrap();
        let socket = Cursor::default();
        tokio::spawn(link.run::<TestClock, _>(Box::new(Counting { counts, socket })));
    }
}

#[tokio::test]
async fn everything_that_waits_is_written_in_order_and_flushed_once() {
    let mut rig = rig();
    for number in 0..10 {
        rig.handle.send(frame(number));
    }
    rig.start();
    for _ in 0..10 {
        assert!(matches!(rig.next().await, Some(Input::Written { .. })));
    }
    let calls = rig.counts.0.lock().unwrap();
    assert_eq!(calls.taken, (0..10).map(frame).collect::<Vec<_>>());
    assert_eq!(calls.flushes, 1);
}

#[tokio::test]
async fn what_is_sent_before_a_close_is_written_before_it_and_nothing_after() {
    let mut rig = rig();
    rig.handle.send(frame(0));
    rig.handle.close(CloseCode::NORMAL, String::new());
    rig.handle.send(frame(1));
    rig.start();
    assert!(matches!(rig.next().await, Some(Input::Written { .. })));
    let Some(Input::Closed { why, .. }) = rig.next().await else {
        panic!("the link is not closed");
    };
    assert_eq!(why, Closure::Local);
    assert_eq!(rig.counts.0.lock().unwrap().taken, [frame(0)]);
    assert!(rig.next().await.is_none(), "nothing follows");
}

#[tokio::test]
async fn a_ping_is_flushed_although_nothing_is_sent() {
    let mut rig = rig();
    let ping = Frame::Ping("?".into());
    rig.counts.0.lock().unwrap().waiting.push_back(ping);
    rig.handle.allow(1);
    rig.start();
    assert!(matches!(rig.next().await, Some(Input::Frame { .. })));
    let flushed = async {
        while rig.counts.0.lock().unwrap().flushes == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout::<TestClock, _>(Duration::from_secs(30), flushed)
        .await
        .expect("no flush");
}

#[tokio::test]
async fn no_more_is_read_than_allowed() {
    const LARGE: usize = BATCH_BYTES;
    let large = || Frame::Binary(vec![7; LARGE].into());
    let mut rig = rig();
    rig.counts.0.lock().unwrap().waiting = (0..100).map(|_| large()).collect();
    rig.handle.allow(LARGE);
    rig.start();
    for _ in 0..READ_AHEAD {
        assert!(matches!(rig.next().await, Some(Input::Frame { .. })));
        rig.handle.count_received();
    }
    // Without a new leave, the next fact is the end and not the fifth frame.
    rig.handle.allow(0);
    rig.handle.close(CloseCode::NORMAL, String::new());
    assert!(matches!(rig.next().await, Some(Input::Closed { .. })));
    let calls = rig.counts.0.lock().unwrap();
    assert_eq!(calls.limits, [LARGE; READ_AHEAD as usize]);
}

#[tokio::test]
async fn small_frames_that_are_there_travel_together_up_to_a_bound() {
    let mut rig = rig();
    rig.counts.0.lock().unwrap().waiting = (0..FRAMES_PER_BATCH + 3).map(frame).collect();
    rig.handle.allow(7);
    rig.start();
    for expected in [FRAMES_PER_BATCH, 3] {
        let Some(Fact::Frames { frames, .. }) = rig.facts.recv().await else {
            panic!("no frames");
        };
        assert_eq!(frames.len(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_peer_said_last_is_heard_although_it_reads_no_more() {
    let mut rig = rig();
    {
        let mut calls = rig.counts.0.lock().unwrap();
        calls.writing_fails = true;
        calls.waiting.push_back(frame(421));
    }
    rig.handle.allow(10);
    rig.handle.send(frame(0));
    rig.start();
    assert!(matches!(rig.next().await, Some(Input::Frame { .. })));
    let Some(Input::Closed { why, .. }) = rig.next().await else {
        panic!("the link is not closed");
    };
    assert_eq!(why, broken_pipe());
}

#[tokio::test]
async fn tls_starts_when_all_before_it_is_flushed_and_the_conversation_goes_on() {
    let mut rig = rig();
    rig.handle.send(frame(0));
    rig.handle.start_tls();
    rig.start();
    assert!(matches!(rig.next().await, Some(Input::Written { .. })));
    assert!(matches!(rig.next().await, Some(Input::Secured { .. })));
    assert_eq!(rig.counts.0.lock().unwrap().flushes_before_tls, Some(1));
    rig.handle.send(frame(1));
    assert!(matches!(rig.next().await, Some(Input::Written { .. })));
    assert_eq!(rig.counts.0.lock().unwrap().taken, [frame(0), frame(1)]);
}
