//! One open link: reads and writes at the same time until it ends, then says how it ended.

use crate::{
    Clock,
    runtime::{sleep, timeout},
    transport::Transport,
};
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use relay_proto::{CloseCode, Closure, Frame, Input, LinkId};
use std::{future::poll_fn, sync::Mutex, time::Duration};
use tokio::{
    select,
    sync::{Notify, mpsc, watch},
};

/// How many frames of one link may be on their way to the machine at once.
///
/// It hides the time a frame takes to get there. A machine that says zero to `read_limit` may still be
/// given this many frames less one, which were read before.
const READ_AHEAD: u64 = 4;

/// Orders written before the socket is flushed and `Written` is reported.
const ORDERS_PER_FLUSH: usize = 256;

/// What a link, or the task that opens it, reports to the hub.
pub(crate) struct Fact {
    pub(crate) input: Input,
    /// The hub's end of a link that was accepted, which the hub has not heard of before.
    pub(crate) handle: Option<Handle>,
}

impl From<Input> for Fact {
    fn from(input: Input) -> Self {
        let handle = None;
        Self { input, handle }
    }
}

enum Order {
    Send(Frame),
    StartTls,
    Close { code: CloseCode, reason: String },
}

/// What the hub allows a link to do; a link without its hub is closing.
#[derive(Clone, Copy, Default, PartialEq)]
struct Leave {
    /// The largest frame to read, in bytes; zero: do not read.
    limit: usize,
    /// How many frames may have been handed up in all.
    frames: u64,
    /// The machine has asked for the end.
    closing: bool,
}

/// The hub's end of a link. Dropping it closes the link with [`CloseCode::GOING_AWAY`].
pub(crate) struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    leave: watch::Sender<Leave>,
    received: u64,
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

    /// Counts a frame that has reached the machine.
    pub(crate) const fn count_received(&mut self) {
        self.received += 1;
    }

    /// Tells the link the machine's read limit.
    pub(crate) fn allow(&self, limit: usize) {
        let frames = self.received + READ_AHEAD;
        self.leave.send_if_modified(|leave| {
            let allowed = Leave {
                limit,
                frames,
                ..*leave
            };
            std::mem::replace(leave, allowed) != allowed
        });
    }
}

/// The task's end of a link.
pub(crate) struct Link {
    id: LinkId,
    orders: mpsc::UnboundedReceiver<Order>,
    leave: watch::Receiver<Leave>,
    facts: mpsc::Sender<Fact>,
    /// How many frames have been handed up.
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
    mut poll: impl FnMut(&mut T, &mut std::task::Context<'_>) -> std::task::Poll<R>,
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
                            std::task::Poll::Ready(
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
            for _ in 0..written {
                let _ = self
                    .facts
                    .send(Input::Written { link: self.id }.into())
                    .await;
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
            let Leave { limit, frames, .. } = *leave.borrow_and_update();
            let read = with(self.transport, |transport, context| {
                transport.poll_frame(context, limit)
            });
            let frame = select! {
                biased;
                changed = leave.changed() => match changed {
                    Ok(()) => continue,
                    // The hub has ended; the writer sees that, too, and says goodbye.
                    Err(_) => std::future::pending().await,
                },
                frame = read, if limit > 0 && *handed_up < frames => frame,
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(why) => return why,
            };
            if matches!(frame, Frame::Ping(_)) {
                self.pinged.notify_one();
            }
            let link = self.id;
            let _ = self.facts.send(Input::Frame { link, frame }.into()).await;
            *handed_up += 1;
        }
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
