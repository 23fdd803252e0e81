//! Where lines come from and where text goes: a terminal with a line editor, or plain streams.

use super::{command::Command, editing::Edited, show::Shown};
use std::{
    io::{self, BufRead, IsTerminal, Write},
    thread,
};
use tokio::sync::mpsc;

/// Lines read ahead of the link; where they come from a file, the rest waits there.
const READ_AHEAD: usize = 16;

/// What comes from the person, or from a program in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// A line: what it asks for, or what is wrong with it.
    Line(Result<Command, String>),
    /// A program has no more lines; a person who has none leaves.
    End,
}

/// Where lines come from and where text goes.
pub(super) enum Terminal {
    /// A person.
    Edited(Edited),
    /// Standard input; frames go to standard output and notices to standard error.
    Plain(mpsc::Receiver<Typed>),
}

impl Terminal {
    /// Starts reading.
    pub(super) fn open(prompt: &'static str) -> io::Result<Self> {
        if is_person()
            && let Some(edited) = Edited::open(prompt)?
        {
            return Ok(Self::Edited(edited));
        }
        let (tell, typed) = mpsc::channel(READ_AHEAD);
        // It may sit in a read when everything else has ended, and ends with the process.
        thread::Builder::new()
            .name("input".to_owned())
            .spawn(move || {
                for line in io::stdin().lock().lines() {
                    let command = line
                        .map_err(|error| format!("standard input: {error}"))
                        .and_then(|line| Command::parse(&line));
                    if tell.blocking_send(Typed::Line(command)).is_err() {
                        return;
                    }
                }
                let _ = tell.blocking_send(Typed::End);
            })?;
        Ok(Self::Plain(typed))
    }

    /// The next thing typed; never returns after the last.
    pub(super) async fn next(&mut self) -> Typed {
        let typed = match self {
            Self::Edited(edited) => edited.next().await,
            Self::Plain(typed) => typed.recv().await,
        };
        match typed {
            Some(typed) => typed,
            None => std::future::pending().await,
        }
    }

    /// Shows something, above the line that is being typed.
    ///
    /// # Errors
    ///
    /// Where nobody reads standard output any more.
    pub(super) async fn show(&self, shown: Shown) -> io::Result<()> {
        match (self, &shown) {
            (Self::Edited(edited), _) => {
                edited.print(shown.text()).await;
                Ok(())
            }
            (Self::Plain(_), Shown::Frame(text)) => {
                let mut stdout = io::stdout().lock();
                writeln!(stdout, "{text}")?;
                stdout.flush()
            }
            (Self::Plain(_), Shown::Notice(text)) => {
                eprintln!("{text}");
                Ok(())
            }
        }
    }

    /// Shows what is left and gives the terminal back as it was.
    pub(super) async fn close(self) {
        if let Self::Edited(edited) = self {
            edited.close().await;
        }
    }
}

/// Whether there is somebody to type and to look.
pub(super) fn is_person() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}
