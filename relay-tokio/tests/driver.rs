//! The handle, the clock and the application, as far as they are this binding's own.

use relay_proto::{Action, Deadline, Input, LinkId, Machine, Stopped, Time};
use relay_testkit::Alarm;
use relay_tokio::{Application, Config, Driver, StreamTls, spawn, spawn_with};
use std::{future::Future, pin::pin, task::Poll, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

fn ignore(_machine: &mut Alarm, _now: Time, _event: Time) {}

type Ignore = fn(&mut Alarm, Time, Time);

fn idle() -> Driver<Alarm, Ignore> {
    spawn(Alarm::default(), ignore as Ignore, Config::default())
}

#[tokio::test(start_paused = true)]
async fn the_machine_wakes_at_its_deadline_also_when_it_moves() {
    let (rung, mut rings) = mpsc::unbounded_channel();
    let driver = spawn(
        Alarm::default(),
        move |_: &mut Alarm, now: Time, event: Time| {
            rung.send((now, event)).unwrap();
        },
        Config::default(),
    );
    for seconds in [3600, 10, 7200] {
        let seconds = Duration::from_secs(seconds);
        let now = driver
            .call(move |machine, _, now| {
                machine.at = Some(now.after(seconds));
                now
            })
            .await
            .unwrap();
        if seconds.as_secs() == 3600 {
            continue; // Moved to an earlier time by the next.
        }
        let (told, rang) = rings.recv().await.unwrap();
        assert_eq!(told, rang);
        let late = rang.since(now.after(seconds));
        assert!(rang >= now.after(seconds) && late < Duration::from_secs(1));
    }
    driver
        .call(|machine, _, _| machine.at = Some(Time::from_nanos(u64::MAX)))
        .await
        .unwrap();
    assert!(rings.try_recv().is_err());
}

#[tokio::test]
async fn a_dropped_call_is_made_if_it_was_accepted_and_else_not() {
    let driver = idle();
    let (made, mut makes) = mpsc::unbounded_channel();
    let record = |number| {
        let made = made.clone();
        move |_: &mut Alarm, _: &mut Ignore, _| made.send(number).unwrap()
    };
    // Never polled: not accepted.
    drop(driver.call(record(1)));
    {
        // Polled once: accepted, since there is room.
        let mut call = pin!(driver.call(record(2)));
        std::future::poll_fn(|context| {
            assert!(call.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    driver.call(record(3)).await.unwrap();
    assert_eq!(makes.try_recv(), Ok(2));
    assert_eq!(makes.try_recv(), Ok(3));
    assert!(makes.try_recv().is_err());
}

/// Ends the machine when it rings, with a call of its own.
struct Ender(Driver<Alarm, Self>);

impl Application<Alarm> for Ender {
    fn handle_event(&mut self, _machine: &mut Alarm, _now: Time, _event: Time) {
        let driver = self.0.clone();
        tokio::spawn(async move { driver.call(|machine, _, _| machine.finished = true).await });
    }
}

#[tokio::test]
async fn an_application_comes_back_with_its_handle() {
    let driver = spawn_with(Alarm::default(), Config::default(), |driver| {
        Ender(driver.clone())
    });
    driver
        .call(|machine, _, now| machine.at = Some(now))
        .await
        .unwrap();
    driver.finished().await;
}

/// Panics over the first frame.
struct Faulty;

impl Machine for Faulty {
    type Event = ();

    fn handle_input(&mut self, _now: Time, input: Input) {
        assert!(!matches!(input, Input::Frame { .. }), "a fault, on purpose");
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn deadline(&self) -> Option<Deadline> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        None
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn read_limit(&self, _link: LinkId) -> usize {
        1024
    }

    fn is_finished(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_machine_that_panics_over_a_frame_ends_with_all_its_links() {
    let driver = spawn(
        Faulty,
        |_: &mut Faulty, _: Time, (): ()| {},
        Config::default(),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    driver.listen_stream(listener, StreamTls::None);
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut speaking = TcpStream::connect(address).await.unwrap();
    speaking.write_all(b"!").await.unwrap();
    let mut heard = Vec::new();
    silent.read_to_end(&mut heard).await.unwrap();
    assert!(heard.is_empty());
    drop(silent);
    driver.finished().await;
    assert_eq!(driver.call(|_, _, _| ()).await, Err(Stopped));
}
