//! One open link: reads and writes at the same time until it ends, then says how it ended.

use crate::{
    Clock,
    conversation::{Conversation, READ_AHEAD},
    orders::{self, Giver, Leave, Order, Taker},
    runtime::{sleep, timeout},
    transport::Transport,
};
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use relay_proto::{CloseCode, Closure, Frame, Input, LinkId};
use std::{convert::Infallible, future::poll_fn, sync::Arc, time::Duration, vec};
use tokio::{select, sync::mpsc};

/// What a link, or the task that opens it, reports to the hub.
pub(crate) enum Fact {
    /// A link was accepted, which the hub has not heard of before; its end of it.
    Accepted { input: Input, handle: Handle },
    /// Frames that have arrived together.
    Frames {
        link: LinkId,
        frames: vec::IntoIter<Frame>,
    },
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

/// Somebody facts are reported to.
pub(crate) trait Hear: Send + Sync {
    fn hear(&self, fact: Fact);
}

/// How links, and tasks that open or accept them, reach the hub, which at its end waits for all of them.
#[derive(Clone)]
pub(crate) struct Reports {
    hub: Arc<dyn Hear>,
    /// Shows that there is somebody to wait for; nothing is ever sent.
    _alive: mpsc::Sender<Infallible>,
}

impl Reports {
    pub(crate) fn new(hub: Arc<dyn Hear>, alive: mpsc::Sender<Infallible>) -> Self {
        Self { hub, _alive: alive }
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
    pub(crate) orders: Taker,
    reports: Reports,
    close_timeout: Duration,
}

/// Both ends of a link.
pub(crate) fn new(id: LinkId, reports: Reports, close_timeout: Duration) -> (Handle, Link) {
    let (giver, taker) = orders::new();
    let handle = Handle {
        orders: giver,
        received: 0,
        allowed: Leave::default(),
    };
    let link = Link {
        id,
        orders: taker,
        reports,
        close_timeout,
    };
    (handle, link)
}

/// How a conversation came to its end.
pub(crate) enum End {
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
    pub(crate) fn report(&self, fact: impl Into<Fact>) {
        self.reports.hub.hear(fact.into());
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
        self.report(Input::Closed { link: self.id, why });
        if let Some(mut transport) = transport {
            let draining = async move { drain(transport.socket()).await };
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
            self.report(Input::Secured { link: self.id });
        }
        secured
    }

    /// Reads and writes at the same time until one side has enough.
    async fn converse<C: Clock, T: Transport>(
        &self,
        transport: &mut T,
        handed_up: &mut u64,
    ) -> End {
        let mut conversation = Conversation::new(self, transport, handed_up);
        let unwritten = match poll_fn(|context| conversation.poll(context)).await {
            Ok(end) => return end,
            Err(why) => why,
        };
        // A peer that hangs up has often said why; what it said is still to be read.
        let listening = poll_fn(|context| conversation.poll(context));
        let heard = Box::pin(timeout::<C, _>(self.close_timeout, listening)).await;
        match heard {
            Some(Ok(end)) => end,
            Some(Err(_)) | None => End::Broken(unwritten),
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
