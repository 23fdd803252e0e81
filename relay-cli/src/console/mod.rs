//! `relay console`: a WebSocket to type into.

mod arguments;
mod command;
mod editing;
mod json;
mod machine;
mod show;
mod terminal;

pub(crate) use arguments::{ConsoleArgs, NOTES};

use crate::{failure::Failure, signals::Signals};
use command::{Command, what_to_type};
use machine::{Console, Ending, Event, Refused};
use relay_proto::{
    CloseCode, Closure, Frame, Time, WebSocketUrl, mail::wire::AUTHENTICATION_REFUSED,
};
use relay_tokio::{Driver, spawn};
use show::{Show, Shown};
use std::{process::ExitCode, time::Duration};
use terminal::{Terminal, Typed, is_person};
use tokio::{select, sync::mpsc};

/// The answer to `/help`.
const HELP: &str = concat!("what to type:\n", what_to_type!());

/// Before what is typed; what comes has `< ` there.
const PROMPT: &str = "> ";

/// Connects, and passes lines out and frames in until it is over.
///
/// # Errors
///
/// Where it cannot start with these settings, or the terminal cannot be used.
pub(crate) async fn console(arguments: ConsoleArgs) -> Result<ExitCode, Failure> {
    let (settings, transport, secret) = arguments.configure()?;
    if secret.is_some()
        && let Some(warning) = arguments.uplink.warning()
    {
        eprintln!("warning: {warning}");
    }
    let mut signals = Signals::new().map_err(Failure::running)?;
    let (tell, mut events) = mpsc::unbounded_channel();
    // The machine bounds what is on its way here: it reads no more while too much is not shown.
    let application = move |_: &mut Console, _: Time, event| {
        let _ = tell.send(event);
    };
    let driver = spawn(Console::new(settings, Time::ZERO), application, transport);
    let mut session = Session {
        driver: &driver,
        url: arguments.uplink.url,
        show: Show {
            secret,
            pretty: arguments.json,
        },
        wait: arguments.wait,
        terminal: None,
        held: None,
        is_wrong: false,
    };
    let ending = loop {
        select! {
            event = events.recv() => match event {
                Some(Event::Ended(ending)) => break ending,
                Some(event) => session.happens(event).await?,
                None => return Err(Failure::running("the console has ended by itself")),
            },
            typed = typed(&mut session.terminal), if session.held.is_none() => {
                session.typed(typed).await;
            }
            _ = signals.next() => session.close(CloseCode::GOING_AWAY, String::new()).await,
        }
    };
    let is_wrong = session.is_wrong;
    session.over(&ending).await;
    driver.finished().await;
    Ok(exit_code(&ending, is_wrong))
}

async fn typed(terminal: &mut Option<Terminal>) -> Typed {
    match terminal {
        Some(terminal) => terminal.next().await,
        None => std::future::pending().await,
    }
}

/// What stands between the machine and the terminal.
struct Session<'a, A> {
    driver: &'a Driver<Console, A>,
    url: WebSocketUrl,
    show: Show,
    wait: Duration,
    /// None before there is anybody to talk to.
    terminal: Option<Terminal>,
    /// What a slow peer has no room for yet.
    held: Option<Frame>,
    /// Some line of a script was wrong.
    is_wrong: bool,
}

impl<A: 'static> Session<'_, A> {
    async fn happens(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Opened => {
                let help = if is_person() {
                    "; /help lists what to type"
                } else {
                    ""
                };
                self.notice(format!("connected to {}{help}", self.url))
                    .await;
                if self.show.secret.is_some() {
                    self.notice("authenticating with the API key").await;
                }
                let terminal = Terminal::open(PROMPT)
                    .map_err(|error| Failure::running(format_args!("the terminal: {error}")))?;
                self.terminal = Some(terminal);
            }
            Event::Received { frame, after } => {
                let shown = self.show.frame(&frame, after);
                self.print(shown).await;
                let _ = self.driver.call(|console, _, _| console.shown()).await;
            }
            Event::Room => {
                if let Some(frame) = self.held.take() {
                    self.send(frame).await;
                }
            }
            Event::NotYet { why, wait } => {
                let wait = wait.as_secs();
                self.notice(format!("not yet: {why}; trying again in {wait} s"))
                    .await;
            }
            // The loop that asks has ended with it.
            Event::Ended(_) => {}
        }
        Ok(())
    }

    async fn typed(&mut self, typed: Typed) {
        let command = match typed {
            Typed::Line(command) => command,
            Typed::End => {
                let wait = self.wait;
                let waits = self
                    .driver
                    .call(move |console, _, now| console.close_after(now, wait));
                // A machine that has ended waits no more.
                let _ = waits.await;
                return;
            }
        };
        match command {
            Ok(Command::Nothing) => {}
            Ok(Command::Send(frame)) => self.send(frame).await,
            Ok(Command::File(path)) => match command::read(&path) {
                Ok(frame) => self.send(frame).await,
                Err(complaint) => self.complain(complaint).await,
            },
            Ok(Command::Json) => {
                self.show.pretty = !self.show.pretty;
                let how = if self.show.pretty {
                    "one field a line"
                } else {
                    "as it comes"
                };
                self.notice(format!("JSON is shown {how} from here on"))
                    .await;
            }
            Ok(Command::Close { code, reason }) => self.close(code, reason).await,
            Ok(Command::Help) => self.notice(HELP).await,
            Err(complaint) => self.complain(complaint).await,
        }
    }

    async fn send(&mut self, frame: Frame) {
        let sent = self
            .driver
            .call(move |console, _, now| console.send(now, frame));
        match sent.await {
            Ok(Err(Refused::Busy(frame))) => self.held = Some(frame),
            Ok(Err(Refused::NotOpen)) => self.notice("not sent: the connection is closing").await,
            // The machine has ended, and why is on its way here.
            Ok(Ok(())) | Err(_) => {}
        }
    }

    async fn close(&self, code: CloseCode, reason: String) {
        let closes = self
            .driver
            .call(move |console, _, _| console.close(code, reason));
        // A machine that has ended needs no goodbye.
        let _ = closes.await;
    }

    /// A person tries again; a script is told by the exit code.
    async fn complain(&mut self, complaint: String) {
        self.is_wrong = !is_person();
        self.notice(complaint).await;
    }

    async fn notice(&self, text: impl Into<String>) {
        self.print(Shown::notice(text)).await;
    }

    async fn print(&self, shown: Shown) {
        match &self.terminal {
            None => eprintln!("{}", shown.text()),
            Some(terminal) => {
                if terminal.show(shown).await.is_err() {
                    self.close(CloseCode::NORMAL, String::new()).await;
                }
            }
        }
    }

    async fn over(mut self, ending: &Ending) {
        self.notice(self.show.ending(ending)).await;
        if let Some(terminal) = self.terminal.take() {
            terminal.close().await;
        }
    }
}

/// The exit code, as `relay console --help` lists them.
fn exit_code(ending: &Ending, is_wrong: bool) -> ExitCode {
    let code = match ending {
        Ending::Unopened(_) => 4,
        Ending::Closed(Closure::Local) => 0,
        Ending::Closed(Closure::Peer { code, .. }) => match *code {
            Some(CloseCode::NORMAL) => 0,
            Some(AUTHENTICATION_REFUSED) => 3,
            _ => 1,
        },
        Ending::Closed(_) => 1,
    };
    ExitCode::from(if code == 0 && is_wrong { 2 } else { code })
}
