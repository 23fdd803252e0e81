//! The front before the judge of all bindings: with one, the byte streams of a binding are WebSockets as good as its own.
//!
//! In place of its WebSocket listeners this binding has a front over its stream listeners; all else is relay-blocking's.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use relay_blocking::{Config, Driver, StreamTls};
use relay_http::Front;
use relay_proto::{
    Action, Application, Deadline, Input, LinkId, Machine, Stopped, Time,
    http::{Answer, Request, Site},
    storage::Storage,
};
use relay_testkit::{Binding, Running, ServerConfig, StopAccepting};
use std::{
    net::{IpAddr, TcpListener},
    sync::Arc,
};

fn main() {
    relay_testkit::judge::<Fronted>();
}

/// Any machine as a site that is all WebSockets.
struct Anywhere<M>(M);

impl<M: Machine> Machine for Anywhere<M> {
    type Event = M::Event;

    fn handle_input(&mut self, now: Time, input: Input) {
        self.0.handle_input(now, input);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.0.handle_timeout(now);
    }

    fn deadline(&self) -> Option<Deadline> {
        self.0.deadline()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.0.poll_action()
    }

    fn poll_event(&mut self) -> Option<M::Event> {
        self.0.poll_event()
    }

    fn read_limit(&self, link: LinkId) -> usize {
        self.0.read_limit(link)
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<M: Machine> Site for Anywhere<M> {
    fn handle_request(&mut self, _: Time, _: LinkId, _: Option<IpAddr>, _: &Request) -> Answer {
        Answer::Upgrade
    }
}

/// A machine with a front for whom it accepts, unless it accepts streams as such: a scenario has the one or the other.
struct Door<M> {
    front: Front<Anywhere<M>>,
    accepts_streams: bool,
}

impl<M: Machine> Door<M> {
    fn new(machine: M, config: &Config) -> Self {
        Self {
            front: Front::new(Anywhere(machine), config.clone()),
            accepts_streams: false,
        }
    }
}

impl<M: Machine> Machine for Door<M> {
    type Event = M::Event;

    fn handle_input(&mut self, now: Time, input: Input) {
        match self.accepts_streams {
            true => self
                .front
                .command(now, |machine, now| machine.handle_input(now, input)),
            false => self.front.handle_input(now, input),
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        self.front.handle_timeout(now);
    }

    fn deadline(&self) -> Option<Deadline> {
        self.front.deadline()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.front.poll_action()
    }

    fn poll_event(&mut self) -> Option<M::Event> {
        self.front.poll_event()
    }

    fn read_limit(&self, link: LinkId) -> usize {
        self.front.read_limit(link)
    }

    fn is_finished(&self) -> bool {
        self.front.is_finished()
    }
}

/// The application of the machine behind the door.
struct Inside<A>(A);

impl<M, A> Application<Door<M>> for Inside<A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    fn handle_event(&mut self, door: &mut Door<M>, now: Time, event: M::Event) {
        let application = &mut self.0;
        door.front.command(now, |machine, now| {
            application.handle_event(&mut machine.0, now, event);
        });
    }

    fn handle_abandoned(&mut self, door: &mut Door<M>, now: Time) {
        let application = &mut self.0;
        door.front.command(now, |machine, now| {
            application.handle_abandoned(&mut machine.0, now);
        });
    }
}

struct Fronted;

struct Handle<M: Machine, A>(Driver<Door<M>, Inside<A>>);

impl Binding for Fronted {
    type Running<M: Machine + Send + 'static, A: Application<M>> = Handle<M, A>;

    fn spawn<M, A>(machine: M, application: A, config: Config) -> Handle<M, A>
    where
        M: Machine + Send + 'static,
        A: Application<M>,
    {
        let door = Door::new(machine, &config);
        Handle(relay_blocking::spawn(door, Inside(application), config))
    }

    fn spawn_storing<M, A>(
        machine: M,
        storage: impl Storage,
        application: A,
        config: Config,
    ) -> Handle<M, A>
    where
        M: Machine + Send + 'static,
        A: Application<M>,
    {
        let door = Door::new(machine, &config);
        let make = |_: &Driver<Door<M>, Inside<A>>| Inside(application);
        Handle(relay_blocking::spawn_storing(door, storage, config, make))
    }
}

impl<M, A> Running<M, A> for Handle<M, A>
where
    M: Machine + Send + 'static,
    A: Application<M>,
{
    fn call<R, F>(&self, command: F) -> Result<R, Stopped>
    where
        R: Send + 'static,
        F: FnOnce(&mut M, &mut A, Time) -> R + Send + 'static,
    {
        self.0.call(|door, inside, now| {
            let application = &mut inside.0;
            door.front.command(now, |machine, now| {
                command(&mut machine.0, application, now)
            })
        })
    }

    fn finished(&self) {
        self.0.finished();
    }

    fn listen_websocket(
        &self,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
    ) -> StopAccepting {
        let tls = tls.map_or(StreamTls::None, StreamTls::Implicit);
        let listening = self.0.listen_stream(listener, tls).unwrap();
        Box::new(move || listening.abort())
    }

    fn listen_stream(&self, listener: TcpListener, tls: StreamTls) -> StopAccepting {
        self.0
            .call(|door, _, _| door.accepts_streams = true)
            .unwrap();
        let listening = self.0.listen_stream(listener, tls).unwrap();
        Box::new(move || listening.abort())
    }
}
