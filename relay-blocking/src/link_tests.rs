use super::*;
use std::sync::{Arc, Mutex};

/// What a transport was asked to do, and what it answers.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    taken: Vec<Frame>,
    flushes: usize,
    waiting: VecDeque<Frame>,
    limits: Vec<usize>,
    goodbyes: Vec<(CloseCode, String)>,
    writing_fails: bool,
    writing_blocks: bool,
}

impl Transport for Counts {
    fn read(&mut self, limit: usize) -> Poll<Result<Frame, Closure>> {
        let mut calls = self.0.lock().unwrap();
        calls.limits.push(limit);
        match calls.waiting.pop_front() {
            Some(frame) => Poll::Ready(Ok(frame)),
            None => Poll::Pending,
        }
    }

    fn send(&mut self, frame: Frame) -> Poll<Result<(), Closure>> {
        let mut calls = self.0.lock().unwrap();
        calls.taken.push(frame);
        match calls.writing_blocks {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    fn flush(&mut self) -> Poll<Result<(), Closure>> {
        let mut calls = self.0.lock().unwrap();
        calls.flushes += 1;
        if calls.writing_blocks {
            return Poll::Pending;
        }
        Poll::Ready(if calls.writing_fails {
            Err(broken_pipe())
        } else {
            Ok(())
        })
    }

    fn say_goodbye(&mut self, code: CloseCode, reason: &str) {
        let mut calls = self.0.lock().unwrap();
        calls.goodbyes.push((code, reason.to_owned()));
    }

    fn answer(&mut self, _why: &Closure) {}

    fn end(&mut self) -> End {
        End::Reached
    }

    fn into_socket(self: Box<Self>) -> Socket {
        unreachable!("no test asks for it")
    }
}

fn link() -> (Link, Counts) {
    let counts = Counts::default();
    let link = Link::new(Box::new(counts.clone()), Duration::from_secs(60));
    (link, counts)
}

impl Counts {
    fn set(&self, change: impl FnOnce(&mut Calls)) {
        change(&mut self.0.lock().unwrap());
    }

    fn taken(&self) -> Vec<Frame> {
        self.0.lock().unwrap().taken.clone()
    }
}

fn broken_pipe() -> Closure {
    let detail = "broken pipe".to_owned();
    Closure::Lost { detail }
}

fn frame(number: usize) -> Frame {
    Frame::Text(number.to_string().into())
}

/// Everything the link has to tell until it has to wait or has ended.
fn all(link: &mut Link, limit: usize) -> Vec<News> {
    let mut told = Vec::new();
    while let Poll::Ready(news) = link.progress(limit) {
        if news == News::Nothing {
            continue;
        }
        let ended = matches!(news, News::Closed(_));
        told.push(news);
        if ended {
            break;
        }
    }
    told
}

#[test]
fn everything_that_waits_is_written_in_order_and_flushed_once() {
    let (mut link, counts) = link();
    for number in 0..10 {
        link.send(frame(number));
    }
    let told = all(&mut link, 1);
    assert!(told.len() == 10 && told.iter().all(|news| *news == News::Written));
    assert_eq!(counts.taken(), (0..10).map(frame).collect::<Vec<_>>());
    assert_eq!(counts.0.lock().unwrap().flushes, 1);
}

#[test]
fn a_full_socket_is_given_no_more_and_nothing_is_called_written() {
    let (mut link, counts) = link();
    counts.set(|calls| calls.writing_blocks = true);
    for number in 0..10 {
        link.send(frame(number));
    }
    link.close(CloseCode::NORMAL, String::new());
    for _ in 0..3 {
        assert_eq!(all(&mut link, 0), []);
        assert_eq!(counts.taken(), [frame(0)]);
    }
    assert_eq!(counts.0.lock().unwrap().goodbyes, []);
    counts.set(|calls| calls.writing_blocks = false);
    let told = all(&mut link, 0);
    assert_eq!((told.len(), counts.taken().len()), (11, 10));
    assert_eq!(told.last(), Some(&News::Closed(Closure::Local)));
}

#[test]
fn what_is_sent_before_a_close_is_written_before_it_and_nothing_after() {
    let (mut link, counts) = link();
    link.send(frame(0));
    link.close(CloseCode::NORMAL, "bye".to_owned());
    link.close(CloseCode::GOING_AWAY, String::new());
    link.send(frame(1));
    let told = [News::Written, News::Closed(Closure::Local)];
    assert_eq!(all(&mut link, 1), told);
    assert_eq!(counts.taken(), [frame(0)]);
    let goodbye = (CloseCode::NORMAL, "bye".to_owned());
    assert_eq!(counts.0.lock().unwrap().goodbyes, [goodbye]);
}

#[test]
fn a_ping_is_flushed_although_nothing_is_sent() {
    let (mut link, counts) = link();
    let ping = Frame::Ping("?".into());
    counts.set(|calls| calls.waiting.push_back(ping.clone()));
    assert_eq!(link.progress(1), Poll::Ready(News::Frame(ping)));
    // Also where the machine reads no more.
    assert_eq!(link.progress(0), Poll::Pending);
    assert_eq!(counts.0.lock().unwrap().flushes, 1);
}

#[test]
fn nothing_is_read_without_leave_and_the_limit_reaches_the_transport() {
    let (mut link, counts) = link();
    counts.set(|calls| calls.waiting.push_back(frame(0)));
    assert_eq!(all(&mut link, 0), []);
    assert_eq!(all(&mut link, 7), [News::Frame(frame(0))]);
    assert_eq!(counts.0.lock().unwrap().limits, [7, 7]);
}

#[test]
fn what_the_peer_said_last_is_heard_although_it_reads_no_more() {
    let (mut link, counts) = link();
    counts.set(|calls| {
        calls.writing_fails = true;
        calls.waiting.push_back(frame(421));
    });
    link.send(frame(0));
    assert_eq!(all(&mut link, 10), [News::Frame(frame(421))]);
    assert!(link.overdue().is_some());
    assert_eq!(link.expire(), broken_pipe());
}

#[test]
fn a_close_that_takes_too_long_was_local_all_the_same() {
    let (mut link, counts) = link();
    counts.set(|calls| calls.writing_blocks = true);
    link.send(frame(0));
    link.close(CloseCode::NORMAL, String::new());
    assert_eq!(all(&mut link, 1), []);
    assert!(link.overdue().is_some());
    assert_eq!(link.expire(), Closure::Local);
}
