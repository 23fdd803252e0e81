//! The handle, the clock and the application, without a socket.

use super::{Group, named};
use crate::{Alarm, Binding, Running, Transcript, peer::HANGS};
use relay_proto::{Application, Stopped, Time};
use relay_transport::Config;
use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

pub(super) fn all<B: Binding>() -> Group {
    named![
        the_machine_wakes_at_its_deadline_also_when_it_moves,
        calls_return_results_until_the_machine_ends,
        calls_of_many_threads_are_all_made,
        the_last_handle_that_goes_is_told_to_the_application,
    ]
}

type Ignore = fn(&mut Alarm, Time, Time);

fn idle<B: Binding>() -> B::Running<Alarm, Ignore> {
    let ignore: Ignore = |_, _, _| {};
    B::spawn(Alarm::default(), ignore, Config::default())
}

fn the_machine_wakes_at_its_deadline_also_when_it_moves<B: Binding>(transcript: &mut Transcript) {
    let (rung, rings) = mpsc::channel();
    let running = B::spawn(
        Alarm::default(),
        move |_: &mut Alarm, now: Time, event: Time| {
            rung.send((now, event)).unwrap();
        },
        Config::default(),
    );
    let alarm = |wait: Duration| {
        let set = running.call(move |machine, _, now| {
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
    let (told, rang) = loop {
        let (told, rang) = rings.recv_timeout(HANGS).expect("the alarm rings");
        if rang >= at {
            break (told, rang);
        }
    };
    assert!(told >= rang);
    running
        .call(|machine, _, _| machine.at = Some(Time::from_nanos(u64::MAX)))
        .unwrap();
    assert!(rings.try_recv().is_err());
    transcript.note("alarm", "rang, and not before its time");
}

fn calls_return_results_until_the_machine_ends<B: Binding>(transcript: &mut Transcript) {
    let running = idle::<B>();
    assert_eq!(running.call(|_, _, _| 1 + 1), Ok(2));
    running
        .call(|machine, _, _| machine.finished = true)
        .unwrap();
    running.finished();
    assert_eq!(running.call(|_, _, _| 0), Err(Stopped));
    // Also for those who ask later.
    running.finished();
    transcript.note("caller", Stopped.to_string());
}

fn calls_of_many_threads_are_all_made<B: Binding>(transcript: &mut Transcript) {
    const CALLERS: usize = 100;
    let running = Arc::new(idle::<B>());
    let (made, makes) = mpsc::channel();
    let callers: Vec<_> = (0..CALLERS)
        .map(|number| {
            let (running, made) = (Arc::clone(&running), made.clone());
            thread::spawn(move || running.call(move |_, _, _| made.send(number).unwrap()))
        })
        .collect();
    for caller in callers {
        caller.join().unwrap().unwrap();
    }
    let mut numbers: Vec<_> = makes.try_iter().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..CALLERS).collect::<Vec<_>>());
    transcript.note("callers", format!("{} calls were made", numbers.len()));
}

/// Tells that it was abandoned, ends the machine then, and tells by its own end that it was dropped.
struct Heir(mpsc::Sender<&'static str>);

impl Application<Alarm> for Heir {
    fn handle_event(&mut self, _machine: &mut Alarm, _now: Time, _event: Time) {}

    fn handle_abandoned(&mut self, machine: &mut Alarm, _now: Time) {
        self.0.send("abandoned").unwrap();
        machine.finished = true;
    }
}

impl Drop for Heir {
    fn drop(&mut self) {
        self.0.send("dropped with its machine").unwrap();
    }
}

fn the_last_handle_that_goes_is_told_to_the_application<B: Binding>(transcript: &mut Transcript) {
    let (tell, told) = mpsc::channel();
    drop(B::spawn(Alarm::default(), Heir(tell), Config::default()));
    while let Ok(line) = told.recv_timeout(HANGS) {
        transcript.note("application", line);
    }
}
