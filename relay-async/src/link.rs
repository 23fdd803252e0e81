//! One open link: reads and writes at the same time until it ends, then says how it ended.

use crate::{
    Clock,
    runtime::{sleep, timeout},
    transport::Transport,
};
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use relay_proto::{CloseCode, Closure, Frame, Input, LinkId};
use std::{future::poll_fn, sync::Mutex, task::Poll, time::Duration};
use tokio::{
    select,
    sync::{Notify, mpsc, watch},
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

/// Orders written before the socket is flushed and `Written` is reported.
const ORDERS_PER_FLUSH: usize = 256;

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

enum Order {
    Send(Frame),
    StartTls,
    Close { code: CloseCode, reason: String },
}

/// What the hub allows a link to do; a link without its hub is closing.
#[derive(Clone, Copy, Default)]
struct Leave {
    /// The largest frame to read, in bytes; zero: do not read.
    limit: usize,
    /// How many batches may have been handed up in all.
    batches: u64,
    /// The machine has asked for the end.
    closing: bool,
}

/// The hub's end of a link. Dropping it closes the link with [`CloseCode::GOING_AWAY`].
pub(crate) struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    leave: watch::Sender<Leave>,
    received: u64,
    /// What the link was told last: the limit, and how many batches.
    allowed: (usize, u64),
}

impl Handle {
    pub(crate) fn send(&self, frame: Frame) {
        // A link that has ended needs no order: its `Closed` is on the way.
        let _ = self.orders.send(Order::Send(frame));
    }

    /// Starts TLS behind what was sent before.
    pub(crate) fn start_tls(&self) {
        let _ = self.orders.send(Order::StartTls);
    }

    pub(crate) fn close(&self, code: CloseCode, reason: String) {
        let _ = self.orders.send(Order::Close { code, reason });
        // Besides the order, which waits behind the frames before it, this starts the clock.
        self.leave.send_modify(|leave| leave.closing = true);
    }

    /// Counts a batch that has reached the machine.
    pub(crate) const fn count_received(&mut self) {
        self.received += 1;
    }

    /// Tells the link the machine's read limit.
    pub(crate) fn allow(&mut self, limit: usize) {
        let batches = self.received + READ_AHEAD;
        // Asked for with every frame that is sent, and nearly always the same.
        if std::mem::replace(&mut self.allowed, (limit, batches)) == (limit, batches) {
            return;
        }
        self.leave.send_modify(|leave| {
            *leave = Leave {
                limit,
                batches,
                ..*leave
            };
        });
    }
}

/// The task's end of a link.
pub(crate) struct Link {
    id: LinkId,
    orders: mpsc::UnboundedReceiver<Order>,
    leave: watch::Receiver<Leave>,
    facts: mpsc::Sender<Fact>,
    /// How many batches have been handed up.
    handed_up: u64,
    close_timeout: Duration,
}

/// Both ends of a link.
pub(crate) fn new(
    id: LinkId,
    facts: mpsc::Sender<Fact>,
    close_timeout: Duration,
) -> (Handle, Link) {
    let (order, orders) = mpsc::unbounded_channel();
    let (allow, leave) = watch::channel(Leave::default());
    let handle = Handle {
        orders: order,
        leave: allow,
        received: 0,
        allowed: (0, 0),
    };
    let link = Link {
        id,
        orders,
        leave,
        facts,
        handed_up: 0,
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
    pub(crate) async fn run<C: Clock, T: Transport>(mut self, transport: T) {
        let (id, facts, close_timeout) = (self.id, self.facts.clone(), self.close_timeout);
        let mut leave = self.leave.clone();
        let overdue = async {
            // An error says that the hub has ended, which closes the link as well.
            let _ = leave.wait_for(|leave| leave.closing).await;
            sleep::<C>(close_timeout).await;
        };
        let ended = self.converse_and_end::<C, T>(transport);
        let (why, transport) = select! {
            biased;
            ended = ended => ended,
            () = overdue => (Closure::Local, None),
        };
        let _ = facts.send(Input::Closed { link: id, why }.into()).await;
        if let Some(transport) = transport {
            let _ = timeout::<C, _>(close_timeout, drain(&mut transport.into_socket())).await;
        }
    }

    /// The whole life of a link, and its transport where that still works.
    async fn converse_and_end<C: Clock, T: Transport>(
        &mut self,
        mut transport: T,
    ) -> (Closure, Option<T>) {
        let why = loop {
            match self.converse::<C, T>(&mut transport).await {
                End::StartTls => match self.secure(transport).await {
                    Ok(secured) => transport = secured,
                    Err(failed) => return failed,
                },
                End::Asked { code, reason } => {
                    transport.say_goodbye(code, &reason).await;
                    break Closure::Local;
                }
                End::Broken(why) => {
                    // Whether the peer hears it or not, the link has ended.
                    let _ = timeout::<C, _>(self.close_timeout, transport.answer(&why)).await;
                    break why;
                }
            }
        };
        let works = !matches!(why, Closure::Lost { .. });
        (why, works.then_some(transport))
    }

    /// The transport with TLS, unless the machine or the hub ends meanwhile.
    async fn secure<T: Transport>(&mut self, transport: T) -> Result<T, (Closure, Option<T>)> {
        let secured = select! {
            biased;
            // An error says that the hub has ended.
            _ = self.leave.wait_for(|leave| leave.closing) => Err((Closure::Local, None)),
            secured = transport.start_tls() => secured,
        };
        if secured.is_ok() {
            self.report(Input::Secured { link: self.id }).await;
        }
        secured
    }

    /// Reads and writes at the same time until one side has enough.
    async fn converse<C: Clock, T: Transport>(&mut self, transport: &mut T) -> End {
        let Self {
            id,
            orders,
            leave,
            facts,
            handed_up,
            close_timeout,
        } = self;
        // Both halves run in this one task and hold the lock only while they poll, so it is never contended.
        let transport = Mutex::new(transport);
        let pinged = Notify::new();
        let writer = Writer {
            id: *id,
            transport: &transport,
            facts,
            pinged: &pinged,
        };
        let reader = Reader {
            id: *id,
            transport: &transport,
            facts,
            pinged: &pinged,
        };
        let writing = async {
            match writer.run(orders).await {
                Ok(asked) => asked,
                Err(why) => {
                    // A peer that hangs up has often said why; what it said is still to be read.
                    sleep::<C>(*close_timeout).await;
                    End::Broken(why)
                }
            }
        };
        select! {
            biased;
            end = writing => end,
            why = reader.run(leave, handed_up) => End::Broken(why),
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

struct Writer<'a, T> {
    id: LinkId,
    transport: &'a Shared<'a, T>,
    facts: &'a mpsc::Sender<Fact>,
    pinged: &'a Notify,
}

impl<T: Transport> Writer<'_, T> {
    /// Carries out orders; flushes once for all that wait.
    async fn run(&self, orders: &mut mpsc::UnboundedReceiver<Order>) -> Result<End, Closure> {
        let mut waiting = Vec::new();
        loop {
            let count = select! {
                count = orders.recv_many(&mut waiting, ORDERS_PER_FLUSH) => Some(count),
                // The transport has queued a pong by itself; nothing but a flush sends it.
                () = self.pinged.notified() => None,
            };
            if count == Some(0) {
                return Ok(End::Asked {
                    code: CloseCode::GOING_AWAY,
                    reason: String::new(),
                });
            }
            let mut written = 0;
            let mut asked = None;
            for order in waiting.drain(..) {
                match order {
                    Order::Send(frame) => {
                        with(self.transport, |transport, context| {
                            transport.poll_ready(context)
                        })
                        .await?;
                        let mut frame = Some(frame);
                        with(self.transport, |transport, _| {
                            Poll::Ready(
                                frame
                                    .take()
                                    .map_or(Ok(()), |frame| transport.start_send(frame)),
                            )
                        })
                        .await?;
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
                let (link, frames) = (self.id, written);
                let _ = self.facts.send(Fact::Written { link, frames }).await;
            }
            if let Some(asked) = asked {
                return Ok(asked);
            }
        }
    }
}

struct Reader<'a, T> {
    id: LinkId,
    transport: &'a Shared<'a, T>,
    facts: &'a mpsc::Sender<Fact>,
    pinged: &'a Notify,
}

impl<T: Transport> Reader<'_, T> {
    /// Hands up frames as far as the hub allows, until the peer or the transport ends the link.
    async fn run(&self, leave: &mut watch::Receiver<Leave>, handed_up: &mut u64) -> Closure {
        loop {
            let Leave { limit, batches, .. } = *leave.borrow_and_update();
            let read = with(self.transport, |transport, context| {
                transport.poll_frame(context, limit)
            });
            let first = select! {
                biased;
                changed = leave.changed() => match changed {
                    Ok(()) => continue,
                    // The hub has ended; the writer sees that, too, and says goodbye.
                    Err(_) => std::future::pending().await,
                },
                frame = read, if limit > 0 && *handed_up < batches => frame,
            };
            let mut frames = Vec::new();
            let end = match first {
                Ok(first) => self.gather(first, limit, &mut frames).await,
                Err(why) => Some(why),
            };
            if frames.iter().any(|frame| matches!(frame, Frame::Ping(_))) {
                self.pinged.notify_one();
            }
            if !frames.is_empty() {
                let link = self.id;
                let _ = self.facts.send(Fact::Frames { link, frames }).await;
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
