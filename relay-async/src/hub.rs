//! Who works on the engine: whoever has news for it. A link's task that has read frames has the machine answer them there and then,
//! without waking another task; where somebody is at work already, the news is left there. The hub has a task of its own for
//! what comes from elsewhere: commands, the alarm, the storage, and work that takes long.

use crate::{
    Runtime,
    driver::Command,
    engine::{Engine, News, Turn},
    link::{Fact, Hear},
};
use relay_proto::{Application, Input, Machine};
use std::{
    collections::VecDeque,
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

/// Pieces of news that one task works on before it goes back to its own business and leaves the others to the hub's task.
const NEWS_PER_TURN: usize = 64;

pub(crate) struct Hub<R, M, A> {
    inbox: Mutex<Inbox<M, A>>,
    /// Locked by whoever has made the inbox busy, so it is hardly ever waited for. None once the hub has ended.
    engine: Mutex<Option<Engine<R, M, A>>>,
    /// Has the hub's task look at the inbox.
    call: Notify,
}

struct Inbox<M, A> {
    /// What came while somebody was at work: of each link no more than it may read ahead, of each caller a command. It is for one
    /// turn at most, after which the hub's task is at work and takes no more commands until all is done.
    news: VecDeque<News<M, A>>,
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
        let inbox = Inbox {
            news: VecDeque::new(),
            busy: true,
            state: State::Unfinished,
            alarm: None,
        };
        Self {
            inbox: Mutex::new(inbox),
            engine: Mutex::new(None),
            call: Notify::new(),
        }
    }

    /// Whoever is at work leaves it to the hub's task.
    fn hand_over(&self, state: State) {
        let mut inbox = lock(&self.inbox);
        if inbox.state != State::Gone {
            inbox.state = state;
        }
        drop(inbox);
        self.call.notify_one();
    }

    /// Whoever is at work rests, unless there is more news.
    fn rest(&self, until: Option<Instant>) -> Option<News<M, A>> {
        let mut inbox = lock(&self.inbox);
        if let Some(news) = inbox.news.pop_front() {
            return Some(news);
        }
        // What came in a rush leaves no memory behind.
        inbox.news = VecDeque::new();
        inbox.busy = false;
        // Most deadlines move with every frame, to a later time. An alarm that rings too early is set again then.
        let earlier = until.filter(|at| inbox.alarm.is_none_or(|rings| *at < rings));
        if earlier.is_some() {
            inbox.alarm = earlier;
            drop(inbox);
            self.call.notify_one();
        }
        None
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
        let mut inbox = lock(&self.inbox);
        // Once the hub has ended nobody rests any more, and nobody works.
        let has_ended = inbox.state == State::Gone;
        if inbox.busy && !has_ended {
            inbox.news.push_back(news);
            return;
        }
        inbox.busy = true;
        // What it holds may be a link, which is not to be dropped under the lock.
        drop(inbox);
        if !has_ended {
            self.work(news);
        }
    }

    /// Works on this and on what comes meanwhile, within bounds. For whoever has made the inbox busy.
    fn work(&self, news: News<M, A>) {
        let unless_it_panics = OnPanic(|| self.hand_over(State::Finished));
        let mut engine = lock(&self.engine);
        let mut news = Some(news);
        for turns_left in (0..NEWS_PER_TURN).rev() {
            let (Some(engine), Some(next)) = (engine.as_mut(), news.take()) else {
                break;
            };
            match engine.work(next) {
                Turn::Waiting(_) if turns_left == 0 => self.hand_over(State::Unfinished),
                Turn::Waiting(until) => news = self.rest(until),
                Turn::Unfinished => {
                    self.hand_over(State::Unfinished);
                    break;
                }
                Turn::Finished => {
                    self.hand_over(State::Finished);
                    break;
                }
            }
        }
        drop(engine);
        mem::forget(unless_it_panics);
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
                let mut inbox = lock(&self.inbox);
                let state = inbox.state;
                if state == State::Unfinished {
                    inbox.state = State::Running;
                }
                (state, inbox.alarm)
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
                    lock(&self.inbox).alarm = None;
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
        let mut inbox = lock(&self.inbox);
        inbox.state = State::Gone;
        let news = mem::take(&mut inbox.news);
        drop(inbox);
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
