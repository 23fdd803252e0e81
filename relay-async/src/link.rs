//! One open link: reads and writes at the same time until it ends, then says how it ended.

use crate::{
    Clock,
    orders::{self, Giver, Leave, Order, Taker},
    runtime::{sleep, timeout},
    transport::Transport,
};
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use relay_proto::{CloseCode, Closure, Frame, Input, LinkId};
use std::{
    future::poll_fn,
    sync::Mutex,
    task::{Poll, ready},
    time::Duration,
};
use tokio::{
    select,
    sync::{Notify, mpsc},
};

/// How many batches of frames of one link may be on their way to the machine at once.
///
/// It hides the time a batch takes to get there. A machine that says zero to `read_limit` may still be
/// given this many batches less one, which were read before.
const READ_AHEAD: u64 = 4;

/// A batch with this many bytes is complete. Small frames that have arrived together travel together, so that waking the hub is
/// paid for once; a large one travels alone.
const BATCH_BYTES: usize = 16 * 1024;

/// And so is one with this many frames, since every frame costs memory, whatever is in it.
const FRAMES_PER_BATCH: usize = 64;

/// What a link, or the task that opens it, reports to the hub.
pub(crate) enum Fact {
    /// A link was accepted, which the hub has not heard of before; its end of it.
    Accepted { input: Input, handle: Handle },
    /// Frames that have arrived together.
    Frames { link: LinkId, frames: Vec<Frame> },
    /// So many frames have been written together.
    Written { link: LinkId, frames: usize },
    /// Anything else.
    Other(Input),
}

impl From<Input> for Fact {
    fn from(input: Input) -> Self {
        Self::Other(input)
    }
}

/// The hub's end of a link. Dropping it closes the link with [`CloseCode::GOING_AWAY`].
pub(crate) struct Handle {
    orders: Giver,
    received: u64,
    /// What the link was told last.
    allowed: Leave,
}

impl Handle {
    pub(crate) fn send(&self, frame: Frame) {
        self.orders.order(Order::Send(frame));
    }

    /// Starts TLS behind what was sent before.
    pub(crate) fn start_tls(&self) {
        self.orders.order(Order::StartTls);
    }

    pub(crate) fn close(&self, code: CloseCode, reason: String) {
        self.orders.order(Order::Close { code, reason });
    }

    /// Counts a batch that has reached the machine.
    pub(crate) const fn count_received(&mut self) {
        self.received += 1;
    }

    /// Tells the link the machine's read limit.
    pub(crate) fn allow(&mut self, limit: usize) {
        let batches = self.received + READ_AHEAD;
        let leave = Leave { limit, batches };
        // Asked for with every frame that is sent, and nearly always the same.
        if std::mem::replace(&mut self.allowed, leave) != leave {
            self.orders.allow(leave);
        }
    }
}

/// The task's end of a link.
pub(crate) struct Link {
    id: LinkId,
    orders: Taker,
    facts: mpsc::Sender<Fact>,
    close_timeout: Duration,
}

/// Both ends of a link.
pub(crate) fn new(
    id: LinkId,
    facts: mpsc::Sender<Fact>,
    close_timeout: Duration,
) -> (Handle, Link) {
    let (giver, taker) = orders::new();
    let handle = Handle {
        orders: giver,
        received: 0,
        allowed: Leave::default(),
    };
    let link = Link {
        id,
        orders: taker,
        facts,
        close_timeout,
    };
    (handle, link)
}

/// How a conversation came to its end.
enum End {
    /// It goes on with TLS.
    StartTls,
    /// The machine, or the end of the hub, asks for it.
    Asked { code: CloseCode, reason: String },
    /// The peer or the transport ended it.
    Broken(Closure),
}

impl Link {
    pub(crate) const fn id(&self) -> LinkId {
        self.id
    }

    /// Reports a fact; does nothing once the hub has ended.
    pub(crate) async fn report(&self, fact: impl Into<Fact>) {
        let _ = self.facts.send(fact.into()).await;
    }

    /// Runs the link to its end, including the closing handshake, and reports [`Input::Closed`].
    ///
    /// The transport, and what is needed at the end, have memory of their own: a task is as large as all it may ever hold, and
    /// most are of links that are open and idle.
    pub(crate) async fn run<C: Clock, T: Transport>(self, transport: Box<T>) {
        let ended = self.converse_and_end::<C, T>(transport);
        let overdue = async {
            poll_fn(|context| self.orders.poll_closing(context)).await;
            sleep::<C>(self.close_timeout).await;
        };
        let (why, transport) = select! {
            biased;
            ended = ended => ended,
            () = overdue => (Closure::Local, None),
        };
        self.report(Input::Closed { link: self.id, why }).await;
        if let Some(transport) = transport {
            let draining = async move { drain(&mut transport.into_socket()).await };
            Box::pin(timeout::<C, _>(self.close_timeout, draining)).await;
        }
    }

    /// The whole life of a link, and its transport where that still works.
    async fn converse_and_end<C: Clock, T: Transport>(
        &self,
        mut transport: Box<T>,
    ) -> (Closure, Option<Box<T>>) {
        let mut handed_up = 0;
        let why = loop {
            match self.converse::<C, T>(&mut transport, &mut handed_up).await {
                End::StartTls => match Box::pin(self.secure(*transport)).await {
                    Ok(secured) => transport = Box::new(secured),
                    Err((why, transport)) => return (why, transport.map(Box::new)),
                },
                End::Asked { code, reason } => {
                    Box::pin(transport.say_goodbye(code, &reason)).await;
                    break Closure::Local;
                }
                End::Broken(why) => {
                    // Whether the peer hears it or not, the link has ended.
                    let answering = timeout::<C, _>(self.close_timeout, transport.answer(&why));
                    Box::pin(answering).await;
                    break why;
                }
            }
        };
        let works = !matches!(why, Closure::Lost { .. });
        (why, works.then_some(transport))
    }

    /// The transport with TLS, unless the machine or the hub ends meanwhile.
    async fn secure<T: Transport>(&self, transport: T) -> Result<T, (Closure, Option<T>)> {
        let secured = select! {
            biased;
            () = poll_fn(|context| self.orders.poll_closing(context)) => Err((Closure::Local, None)),
            secured = transport.start_tls() => secured,
        };
        if secured.is_ok() {
            self.report(Input::Secured { link: self.id }).await;
        }
        secured
    }

    /// Reads and writes at the same time until one side has enough.
    async fn converse<C: Clock, T: Transport>(
        &self,
        transport: &mut T,
        handed_up: &mut u64,
    ) -> End {
        // Both halves run in this one task and hold the lock only while they poll, so it is never contended.
        let transport = Mutex::new(transport);
        let pinged = Notify::new();
        let half = Half {
            link: self,
            transport: &transport,
            pinged: &pinged,
        };
        let writing = async {
            match half.write().await {
                Ok(asked) => asked,
                Err(why) => {
                    // A peer that hangs up has often said why; what it said is still to be read.
                    sleep::<C>(self.close_timeout).await;
                    End::Broken(why)
                }
            }
        };
        select! {
            biased;
            end = writing => end,
            why = half.read(handed_up) => End::Broken(why),
        }
    }
}

type Shared<'a, T> = Mutex<&'a mut T>;

/// Polls the transport under its lock.
async fn with<T, R>(
    transport: &Shared<'_, T>,
    mut poll: impl FnMut(&mut T, &mut std::task::Context<'_>) -> Poll<R>,
) -> R {
    poll_fn(|context| {
        let mut transport = transport
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        poll(&mut transport, context)
    })
    .await
}

/// What reading and writing share.
struct Half<'a, T> {
    link: &'a Link,
    transport: &'a Shared<'a, T>,
    pinged: &'a Notify,
}

impl<T: Transport> Half<'_, T> {
    /// Carries out orders; flushes once for all that wait.
    async fn write(&self) -> Result<End, Closure> {
        loop {
            let orders = select! {
                orders = poll_fn(|context| self.link.orders.poll_orders(context)) => match orders {
                    Some(orders) => orders,
                    None => return Ok(End::Asked {
                        code: CloseCode::GOING_AWAY,
                        reason: String::new(),
                    }),
                },
                // The transport has queued a pong by itself; nothing but a flush sends it.
                () = self.pinged.notified() => Vec::new(),
            };
            let mut written = 0;
            let mut asked = None;
            for order in orders {
                match order {
                    Order::Send(frame) => {
                        self.send(frame).await?;
                        written += 1;
                    }
                    Order::StartTls => {
                        // What may be behind it, an order to close, has been announced as well.
                        asked = Some(End::StartTls);
                        break;
                    }
                    Order::Close { code, reason } => {
                        asked = Some(End::Asked { code, reason });
                        break;
                    }
                }
            }
            with(self.transport, |transport, context| {
                transport.poll_flush(context)
            })
            .await?;
            if written > 0 {
                let (link, frames) = (self.link.id, written);
                self.link.report(Fact::Written { link, frames }).await;
            }
            if let Some(asked) = asked {
                return Ok(asked);
            }
        }
    }

    /// Gives the transport a frame as soon as it takes one.
    async fn send(&self, frame: Frame) -> Result<(), Closure> {
        let mut frame = Some(frame);
        with(self.transport, |transport, context| {
            ready!(transport.poll_ready(context))?;
            Poll::Ready(match frame.take() {
                Some(frame) => transport.start_send(frame),
                None => Ok(()),
            })
        })
        .await
    }

    /// Hands up frames as far as the hub allows, until the peer or the transport ends the link.
    async fn read(&self, handed_up: &mut u64) -> Closure {
        loop {
            let read = with(self.transport, |transport, context| {
                let Leave { limit, batches } = self.link.orders.leave(context);
                if limit == 0 || *handed_up >= batches {
                    return Poll::Pending;
                }
                transport
                    .poll_frame(context, limit)
                    .map_ok(|frame| (frame, limit))
            });
            let mut frames = Vec::new();
            let end = match read.await {
                Ok((first, limit)) => self.gather(first, limit, &mut frames).await,
                Err(why) => Some(why),
            };
            if frames.iter().any(|frame| matches!(frame, Frame::Ping(_))) {
                self.pinged.notify_one();
            }
            if !frames.is_empty() {
                let link = self.link.id;
                self.link.report(Fact::Frames { link, frames }).await;
                *handed_up += 1;
            }
            if let Some(why) = end {
                return why;
            }
        }
    }

    /// Puts behind the first frame what has arrived with it, up to the end of the link or of the batch.
    async fn gather(&self, first: Frame, limit: usize, frames: &mut Vec<Frame>) -> Option<Closure> {
        let mut bytes = first.len();
        frames.push(first);
        while bytes < BATCH_BYTES && frames.len() < FRAMES_PER_BATCH {
            let next = with(self.transport, |transport, context| {
                Poll::Ready(transport.poll_frame(context, limit))
            });
            match next.await {
                Poll::Ready(Ok(frame)) => {
                    bytes += frame.len();
                    frames.push(frame);
                }
                Poll::Ready(Err(why)) => return Some(why),
                Poll::Pending => break,
            }
        }
        None
    }
}

/// Ends our direction and throws away what still comes, until the peer ends its own.
///
/// A socket closed with unread bytes in it makes the kernel reset the connection, and the peer may then
/// never see what was sent last.
pub(crate) async fn drain<S>(socket: &mut S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if socket.close().await.is_err() {
        return;
    }
    let mut discarded = [0; 1024];
    while matches!(socket.read(&mut discarded).await, Ok(1..)) {}
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
