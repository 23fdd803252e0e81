//! Who works on the engine: whoever has news for it. A link's task that has read frames has the machine answer them there and then,
//! without waking another task; where somebody is at work already, the news is left there. The hub has a task of its own for
//! what comes from elsewhere: commands, the alarm, the storage, and work that takes long.

use crate::{
    Runtime,
    driver::Command,
    engine::{Engine, News, Turn},
    inbox::Inbox,
    link::{Fact, Hear},
};
use relay_proto::{Application, Input, Machine};
use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Instant,
};
use tokio::{
    select,
    sync::{Notify, mpsc, watch},
};

/// Pieces of traffic the machine hears before it is asked what is to be done: what comes together is answered together.
const NEWS_PER_ROUND: usize = 8;

/// How often it is asked before whoever works goes back to its own business and leaves the rest to the hub's task.
const ROUNDS_PER_TURN: usize = 4;

pub(crate) struct Hub<R, M, A> {
    desk: Mutex<Desk<M, A>>,
    /// Locked by whoever has made the desk busy, so it is hardly ever waited for. None once the hub has ended.
    engine: Mutex<Option<Engine<R, M, A>>>,
    /// Has the hub's task look at the inbox.
    call: Notify,
}

struct Desk<M, A> {
    /// What came while somebody was at work: of each link no more than it may read ahead, of each caller a command. It is for one
    /// turn at most, after which the hub's task is at work and takes no more commands until all is done.
    inbox: Inbox<News<M, A>>,
    /// Somebody is at work, or the hub's task is about to be.
    busy: bool,
    state: State,
    /// When the hub's task wakes the machine, at the latest.
    alarm: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// The hub's task is to go on with the work.
    Unfinished,
    /// The machine has finished, or somebody's work on it has panicked.
    Finished,
    /// The hub has ended.
    Gone,
}

/// What comes to the hub's task.
pub(crate) struct Sources<M, A> {
    pub(crate) commands: mpsc::Receiver<Command<M, A>>,
    /// Answers of the storage.
    pub(crate) stored: mpsc::UnboundedReceiver<Input>,
    /// Ends when the last task of the hub has.
    pub(crate) alive: mpsc::Receiver<Infallible>,
    /// False while the machine runs, then true; gone when the last link is.
    pub(crate) stage: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic at work ends the hub by other means.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R, M, A> Hub<R, M, A> {
    /// Without an engine yet, which is made with what reports to the hub.
    pub(crate) fn new() -> Self {
        let desk = Desk {
            inbox: Inbox::default(),
            busy: true,
            state: State::Unfinished,
            alarm: None,
        };
        Self {
            desk: Mutex::new(desk),
            engine: Mutex::new(None),
            call: Notify::new(),
        }
    }

    /// Whoever is at work leaves it to the hub's task.
    fn hand_over(&self, state: State) {
        let mut desk = lock(&self.desk);
        if desk.state != State::Gone {
            desk.state = state;
        }
        drop(desk);
        self.call.notify_one();
    }

    /// Whoever is at work takes the next piece of news, if there is one.
    fn next(&self) -> Option<News<M, A>> {
        lock(&self.desk).inbox.pop()
    }

    /// Whoever is at work rests, unless there is more news: false.
    fn rest(&self, until: Option<Instant>) -> bool {
        let mut desk = lock(&self.desk);
        if !desk.inbox.is_empty() {
            return false;
        }
        // What came in a rush leaves no memory behind.
        desk.inbox = Inbox::default();
        desk.busy = false;
        // Most deadlines move with every frame, to a later time. An alarm that rings too early is set again then.
        let earlier = until.filter(|at| desk.alarm.is_none_or(|rings| *at < rings));
        if earlier.is_some() {
            desk.alarm = earlier;
            drop(desk);
            self.call.notify_one();
        }
        true
    }
}

impl<R, M, A> Hub<R, M, A>
where
    R: Runtime,
    M: Machine + Send + 'static,
    A: Application<M>,
{
    /// Has the machine hear of it: now, or soon from whoever is at work.
    fn take(&self, news: News<M, A>) {
        let mut desk = lock(&self.desk);
        // Once the hub has ended nobody rests any more, and nobody works.
        let has_ended = desk.state == State::Gone;
        if desk.busy && !has_ended {
            desk.inbox.push(news.whose(), news);
            return;
        }
        desk.busy = true;
        // What it holds may be a link, which is not to be dropped under the lock.
        drop(desk);
        if !has_ended {
            self.work(news);
        }
    }

    /// Works on this and on what comes meanwhile, within bounds. For whoever has made the desk busy.
    fn work(&self, news: News<M, A>) {
        let unless_it_panics = OnPanic(|| self.hand_over(State::Finished));
        let mut engine = lock(&self.engine);
        if let Some(engine) = engine.as_mut()
            && let Some(state) = self.work_with(engine, news)
        {
            self.hand_over(state);
        }
        drop(engine);
        mem::forget(unless_it_panics);
    }

    /// What is left to the hub's task, if anything is.
    fn work_with(&self, engine: &mut Engine<R, M, A>, news: News<M, A>) -> Option<State> {
        let mut next = Some(news);
        for _ in 0..ROUNDS_PER_TURN {
            for heard in 0..NEWS_PER_ROUND {
                let Some(news) = next.take().or_else(|| self.next()) else {
                    break;
                };
                let (whose, is_traffic) = (news.whose(), news.is_traffic());
                if heard > 0 && !is_traffic {
                    next = Some(news);
                    break;
                }
                if let Some(rest) = engine.tell(news) {
                    next = lock(&self.desk).inbox.exchange(whose, rest);
                }
                if !is_traffic {
                    break;
                }
            }
            match engine.work() {
                Turn::Waiting(until) if next.is_none() && self.rest(until) => return None,
                Turn::Waiting(_) => {}
                Turn::Unfinished => break,
                Turn::Finished => return Some(State::Finished),
            }
        }
        if let Some(news) = next {
            lock(&self.desk).inbox.put_back(news.whose(), news);
        }
        Some(State::Unfinished)
    }

    /// Runs the hub to its end.
    pub(crate) async fn run(self: Arc<Self>, engine: Engine<R, M, A>, sources: Sources<M, A>) {
        *lock(&self.engine) = Some(engine);
        // Also where this task is dropped with its runtime, or panics.
        let ending = Ending(self);
        let Sources {
            mut commands,
            mut stored,
            mut alive,
            stage,
        } = sources;
        ending.0.attend(&mut commands, &mut stored).await;
        drop(commands);
        let storage = ending.0.end().map(Engine::end);
        stage.send_replace(true);
        // Every task of this hub has it for as long as it lives; each ends within its timeout.
        while alive.recv().await.is_some() {}
        if let Some(storage) = storage {
            storage.close().await;
        }
        drop(stage);
    }

    async fn attend(
        &self,
        commands: &mut mpsc::Receiver<Command<M, A>>,
        stored: &mut mpsc::UnboundedReceiver<Input>,
    ) {
        let mut alarm = pin!(None);
        let mut alarm_at = None;
        let mut abandoned = false;
        loop {
            let (state, rings) = {
                let mut desk = lock(&self.desk);
                let state = desk.state;
                if state == State::Unfinished {
                    desk.state = State::Running;
                }
                (state, desk.alarm)
            };
            match state {
                State::Running => {}
                State::Unfinished => {
                    self.work(News::Nothing);
                    yield_now().await;
                    continue;
                }
                State::Finished | State::Gone => break,
            }
            if alarm_at != rings {
                alarm.set(rings.map(R::sleep_until));
                alarm_at = rings;
            }
            let ringing = async {
                match alarm.as_mut().as_pin_mut() {
                    Some(alarm) => alarm.await,
                    None => pending().await,
                }
            };
            select! {
                biased;
                () = self.call.notified() => {}
                () = ringing => {
                    lock(&self.desk).alarm = None;
                    self.take(News::Nothing);
                }
                Some(input) = stored.recv() => self.take(News::Fact(Fact::Other(input))),
                command = commands.recv(), if !abandoned => match command {
                    Some(command) => self.take(News::Command(command)),
                    None => {
                        abandoned = true;
                        self.take(News::Command(Box::new(|machine, application, now| {
                            application.handle_abandoned(machine, now);
                        })));
                    }
                },
            }
        }
    }
}

impl<R, M, A> Hub<R, M, A> {
    /// Takes no more news; the engine, the first time.
    fn end(&self) -> Option<Engine<R, M, A>> {
        let mut desk = lock(&self.desk);
        desk.state = State::Gone;
        let news = mem::take(&mut desk.inbox);
        drop(desk);
        drop(news);
        lock(&self.engine).take()
    }
}

impl<R, M, A> Hear for Hub<R, M, A>
where
    R: Runtime,
    M: Machine + Send + 'static,
    A: Application<M>,
{
    fn hear(&self, fact: Fact) {
        self.take(News::Fact(fact));
    }
}

/// Ends the hub however its task ends.
struct Ending<R, M, A>(Arc<Hub<R, M, A>>);

impl<R, M, A> Drop for Ending<R, M, A> {
    fn drop(&mut self) {
        drop(self.0.end());
    }
}

/// Does this when it is dropped, which happens only in a panic.
struct OnPanic<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Lets the runtime's other tasks have a turn.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
