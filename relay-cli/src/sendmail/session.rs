//! `-bs`: SMTP on standard input and output.

use super::exit;
use crate::{
    config::{MAX_MESSAGE_BYTES, local_host},
    failure::Failure,
    submit::{Budget, Draft, Forwarder},
};
use relay_proto::smtp::{Reply, Request, Session, SessionConfig, reply};
use std::future;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, stdin, stdout};

/// Holds a session with whoever called, to its end.
pub(super) async fn converse(forwarder: &Forwarder) -> Result<(), Failure> {
    hold(forwarder, stdin(), stdout())
        .await
        .map_err(|error| exit::io(format_args!("the session broke: {error}")))
}

async fn hold(
    forwarder: &Forwarder,
    mut input: impl AsyncRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
) -> std::io::Result<()> {
    let mut session = Session::new(SessionConfig {
        // Programs that fork this are on the same machine and often leave it out.
        require_hello: false,
        max_message_bytes: Some(MAX_MESSAGE_BYTES),
        ..SessionConfig::new(local_host()).with_chunking()
    });
    session.greet(reply(220, "", "localhost ESMTP"));
    let mut desk = Desk {
        forwarder,
        budget: Budget::new(MAX_MESSAGE_BYTES),
        draft: None,
    };
    loop {
        while let Some(request) = session.poll_request() {
            if let Some(reply) = desk.answer(request).await {
                session.respond(reply);
            }
        }
        if let Some(bytes) = session.poll_output() {
            output.write_all(&bytes).await?;
            output.flush().await?;
            continue;
        }
        if session.is_closed() {
            return Ok(());
        }
        let mut piece = [0; 16 * 1024];
        match input.read(&mut piece).await? {
            0 => return Ok(()),
            length => session.handle_bytes(&piece[..length]),
        }
    }
}

struct Desk<'a> {
    forwarder: &'a Forwarder,
    budget: Budget,
    draft: Option<Draft>,
}

impl Desk<'_> {
    async fn answer(&mut self, request: Request) -> Option<Reply> {
        match request {
            Request::Mail { reverse_path, .. } => {
                self.draft = Some(Draft::new(reverse_path, self.budget.clone()));
                Some(reply(250, "2.1.0", "Sender ok"))
            }
            Request::Recipient(forward_path) => {
                if let Some(draft) = &mut self.draft {
                    draft.add_recipient(forward_path);
                }
                Some(reply(250, "2.1.5", "Recipient ok"))
            }
            Request::Data => Some(reply(354, "", "End data with <CR><LF>.<CR><LF>")),
            Request::Content(content) => {
                if let Some(draft) = &mut self.draft {
                    draft.add_content(&content);
                }
                None
            }
            Request::EndOfContent => Some(self.end_of_content().await),
            _ => {
                self.draft = None;
                None
            }
        }
    }

    async fn end_of_content(&mut self) -> Reply {
        let Some(draft) = self.draft.take() else {
            return reply(503, "5.5.1", "MAIL first");
        };
        match draft.finish() {
            Ok((envelope, content, _share)) => {
                let outcome = self.forwarder.forward(envelope, content, future::pending());
                outcome.await.reply()
            }
            Err(refusal) => refusal,
        }
    }
}
