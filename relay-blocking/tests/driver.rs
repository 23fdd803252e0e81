//! The handle and the application, as far as they are this binding's own.

use relay_blocking::{Application, Config, Driver, Stopped, StreamTls, spawn, spawn_with};
use relay_proto::Time;
use relay_testkit::Alarm;
use std::{panic::AssertUnwindSafe, thread};

fn ignore(_machine: &mut Alarm, _now: Time, _event: Time) {}

type Ignore = fn(&mut Alarm, Time, Time);

fn idle() -> Driver<Alarm, Ignore> {
    spawn(Alarm::default(), ignore as Ignore, Config::default())
}

#[test]
fn an_application_that_would_wait_for_itself_is_told() {
    let driver = idle();
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

/// Ends the machine when it rings, with a call of its own.
struct Ender(Driver<Alarm, Self>);

impl Application<Alarm> for Ender {
    fn handle_event(&mut self, _machine: &mut Alarm, _now: Time, _event: Time) {
        let driver = self.0.clone();
        thread::spawn(move || driver.call(|machine, _, _| machine.finished = true));
    }
}

#[test]
fn an_application_comes_back_with_its_handle() {
    let driver = spawn_with(Alarm::default(), Config::default(), |driver| {
        Ender(driver.clone())
    });
    driver
        .call(|machine, _, now| machine.at = Some(now))
        .unwrap();
    driver.finished();
}
