//! The handle, the clock and the application, without a socket.

use relay_proto::{Action, Deadline, Input, LinkId, Machine, Time};
use relay_tokio::{Application, Config, Driver, Stopped, spawn, spawn_with};
use std::{future::Future, pin::pin, task::Poll, time::Duration};
use tokio::sync::mpsc;

/// Reports the time of every alarm it is set to.
#[derive(Default)]
struct Alarm {
    at: Option<Time>,
    rung: Option<Time>,
    finished: bool,
}

impl Machine for Alarm {
    type Event = Time;

    fn handle_input(&mut self, _now: Time, _input: Input) {}

    fn handle_timeout(&mut self, now: Time) {
        self.at = None;
        self.rung = Some(now);
    }

    fn deadline(&self) -> Option<Deadline> {
        self.at.map(|at| Deadline { at, timer: "alarm" })
    }

    fn poll_action(&mut self) -> Option<Action> {
        None
    }

    fn poll_event(&mut self) -> Option<Time> {
        self.rung.take()
    }

    fn read_limit(&self, _link: LinkId) -> usize {
        0
    }

    fn is_finished(&self) -> bool {
        self.finished
    }
}

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
async fn calls_return_results_until_the_machine_ends() {
    let driver = idle();
    assert_eq!(driver.call(|_, _, _| 1 + 1).await, Ok(2));
    driver
        .call(|machine, _, _| machine.finished = true)
        .await
        .unwrap();
    driver.finished().await;
    assert_eq!(driver.call(|_, _, _| 0).await, Err(Stopped));
    // Also for those who ask later.
    driver.clone().finished().await;
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

/// Ends the machine when it rings, after a call of its own, or when it is abandoned.
struct Ender {
    driver: Option<Driver<Alarm, Self>>,
}

impl Application<Alarm> for Ender {
    fn handle_event(&mut self, _machine: &mut Alarm, _now: Time, _event: Time) {
        let driver = self.driver.clone().expect("it has its handle");
        tokio::spawn(async move { driver.call(|machine, _, _| machine.finished = true).await });
    }

    fn handle_abandoned(&mut self, machine: &mut Alarm, _now: Time) {
        machine.finished = true;
    }
}

#[tokio::test]
async fn an_application_comes_back_with_its_handle() {
    let driver = spawn_with(Alarm::default(), Config::default(), |driver| Ender {
        driver: Some(driver.clone()),
    });
    driver
        .call(|machine, _, now| machine.at = Some(now))
        .await
        .unwrap();
    driver.finished().await;
}

#[tokio::test]
async fn an_abandoned_application_may_end_the_machine() {
    struct Dropped(mpsc::UnboundedSender<()>, Ender);
    impl Application<Alarm> for Dropped {
        fn handle_event(&mut self, _machine: &mut Alarm, _now: Time, _event: Time) {}

        fn handle_abandoned(&mut self, machine: &mut Alarm, now: Time) {
            self.0.send(()).unwrap();
            self.1.handle_abandoned(machine, now);
        }
    }
    let (abandoned, mut told) = mpsc::unbounded_channel();
    let application = Dropped(abandoned, Ender { driver: None });
    drop(spawn(Alarm::default(), application, Config::default()));
    assert_eq!(told.recv().await, Some(()));
    // The application is dropped with its machine.
    assert_eq!(told.recv().await, None);
}

#[test]
fn seeds_differ() {
    assert_ne!(relay_tokio::seed(), relay_tokio::seed());
}
