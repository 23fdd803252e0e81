//! The handle, the clock and the application, without a socket.

use relay_blocking::{Application, Config, Driver, Stopped, StreamTls, spawn, spawn_with};
use relay_proto::{Action, Deadline, Input, LinkId, Machine, Time};
use std::{panic::AssertUnwindSafe, sync::mpsc, thread, time::Duration};

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

#[test]
fn the_machine_wakes_at_its_deadline_also_when_it_moves() {
    let (rung, rings) = mpsc::channel();
    let driver = spawn(
        Alarm::default(),
        move |_: &mut Alarm, now: Time, event: Time| {
            rung.send((now, event)).unwrap();
        },
        Config::default(),
    );
    let alarm = |wait: Duration| {
        let set = driver.call(move |machine, _, now| {
            let at = now.after(wait);
            machine.at = Some(at);
            at
        });
        set.unwrap()
    };
    for wait in [3600, 0].map(Duration::from_secs) {
        alarm(wait);
    }
    let at = alarm(Duration::from_millis(20));
    // The second alarm may have rung already, or have been moved in time.
    let (told, rang) = rings
        .iter()
        .find(|(_, rang)| *rang >= at)
        .expect("the hub runs");
    assert!(told >= rang);
    driver
        .call(|machine, _, _| machine.at = Some(Time::from_nanos(u64::MAX)))
        .unwrap();
    assert!(rings.try_recv().is_err());
}

#[test]
fn calls_return_results_until_the_machine_ends() {
    let driver = idle();
    assert_eq!(driver.call(|_, _, _| 1 + 1), Ok(2));
    driver
        .call(|machine, _, _| machine.finished = true)
        .unwrap();
    driver.finished();
    assert_eq!(driver.call(|_, _, _| 0), Err(Stopped));
    // Also for those who ask later.
    driver.clone().finished();
}

#[test]
fn calls_of_many_threads_are_all_made() {
    let (driver, count) = (idle(), 100);
    let (made, makes) = mpsc::channel();
    let callers: Vec<_> = (0..count)
        .map(|number| {
            let (driver, made) = (driver.clone(), made.clone());
            thread::spawn(move || driver.call(move |_, _, _| made.send(number).unwrap()))
        })
        .collect();
    for caller in callers {
        caller.join().unwrap().unwrap();
    }
    let mut numbers: Vec<_> = makes.try_iter().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}

#[test]
fn an_application_that_would_wait_for_itself_is_told() {
    let driver = spawn_with(Alarm::default(), Config::default(), |driver| Ender {
        driver: Some(driver.clone()),
    });
    let inner = driver.clone();
    let waited = driver.call(move |machine, _, _| {
        let waits = || inner.call(|_, _, _| ()).unwrap();
        let panicked = std::panic::catch_unwind(AssertUnwindSafe(waits)).is_err();
        machine.finished = true;
        panicked
    });
    assert_eq!(waited, Ok(true));
    driver.finished();
}

#[test]
fn who_waits_hears_of_a_panic_on_the_thread() {
    let driver = idle();
    assert_eq!(
        driver.call(|_, _, _| panic!("on purpose")),
        Err::<(), _>(Stopped)
    );
    driver.finished();
    assert_eq!(driver.call(|_, _, _| ()), Err(Stopped));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(driver.listen_stream(listener, StreamTls::None).is_err());
}

/// Ends the machine when it rings, after a call of its own, or when it is abandoned.
struct Ender {
    driver: Option<Driver<Alarm, Self>>,
}

impl Application<Alarm> for Ender {
    fn handle_event(&mut self, _machine: &mut Alarm, _now: Time, _event: Time) {
        let driver = self.driver.clone().expect("it has its handle");
        thread::spawn(move || driver.call(|machine, _, _| machine.finished = true));
    }

    fn handle_abandoned(&mut self, machine: &mut Alarm, _now: Time) {
        machine.finished = true;
    }
}

#[test]
fn an_application_comes_back_with_its_handle() {
    let driver = spawn_with(Alarm::default(), Config::default(), |driver| Ender {
        driver: Some(driver.clone()),
    });
    driver
        .call(|machine, _, now| machine.at = Some(now))
        .unwrap();
    driver.finished();
}

#[test]
fn an_abandoned_application_may_end_the_machine() {
    struct Dropped(mpsc::Sender<()>, Ender);
    impl Application<Alarm> for Dropped {
        fn handle_event(&mut self, _machine: &mut Alarm, _now: Time, _event: Time) {}

        fn handle_abandoned(&mut self, machine: &mut Alarm, now: Time) {
            self.0.send(()).unwrap();
            self.1.handle_abandoned(machine, now);
        }
    }
    let (abandoned, told) = mpsc::channel();
    let application = Dropped(abandoned, Ender { driver: None });
    drop(spawn(Alarm::default(), application, Config::default()));
    assert_eq!(told.recv(), Ok(()));
    // The application is dropped with its machine.
    assert!(told.recv().is_err());
}

#[test]
fn seeds_differ() {
    assert_ne!(relay_blocking::seed(), relay_blocking::seed());
}
