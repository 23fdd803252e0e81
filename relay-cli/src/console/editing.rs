//! A line editor that other text does not disturb: one thread edits, another prints above the line.

use super::{command::Command, terminal::Typed};
use rustyline::{
    Config, Context, Editor, ExternalPrinter, Helper, completion::Completer,
    highlight::Highlighter, hint::Hinter, history::DefaultHistory, validate::Validator,
};
use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc as blocking},
    thread,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// How long the editor may take to notice that it is to end, before it is told again.
const AGAIN: Duration = Duration::from_millis(50);

/// Up and down again: what can be printed without being seen.
const NOTHING: &str = "\x1b[A\n";

/// A terminal whose lines are edited.
pub(super) struct Edited {
    typed: mpsc::UnboundedReceiver<Typed>,
    jobs: blocking::Sender<Job>,
    gate: Arc<Gate>,
}

/// Something for the thread that prints.
enum Job {
    Print(String, oneshot::Sender<()>),
    /// Answered when the line editor has shown everything before.
    Flush(oneshot::Sender<()>),
}

impl Edited {
    /// Starts editing; none where the terminal can do no more than a typewriter.
    pub(super) fn open(prompt: &'static str) -> io::Result<Option<Self>> {
        let gate = Arc::new(Gate::default());
        let config = Config::builder().auto_add_history(true).build();
        let mut editor: Editor<Hook, DefaultHistory> =
            Editor::with_config(config).map_err(io::Error::other)?;
        editor.set_helper(Some(Hook(Arc::clone(&gate))));
        let Ok(mut printer) = editor.create_external_printer() else {
            return Ok(None);
        };
        // Nobody types faster than lines are sent. An editor that had to wait would keep the printer waiting, too.
        let (tell, typed) = mpsc::unbounded_channel();
        let (jobs, waiting) = blocking::channel();
        thread::Builder::new().name("editor".to_owned()).spawn({
            let gate = Arc::clone(&gate);
            move || {
                edit(&mut editor, prompt, &gate, &tell);
                gate.set(Stage::Over);
            }
        })?;
        thread::Builder::new().name("printer".to_owned()).spawn({
            let gate = Arc::clone(&gate);
            move || print(&mut printer, &gate, &waiting)
        })?;
        Ok(Some(Self { typed, jobs, gate }))
    }

    /// The next thing typed; none after the last.
    pub(super) async fn next(&mut self) -> Option<Typed> {
        self.typed.recv().await
    }

    /// Prints a text above the line, and returns when the next one may follow.
    pub(super) async fn print(&self, text: &str) {
        let text = format!("{text}\n");
        self.order(|done| Job::Print(text, done)).await;
    }

    /// Shows everything that was printed and gives the terminal back as it was.
    pub(super) async fn close(mut self) {
        if cfg!(not(unix)) {
            // Nothing there ends a read from the console.
            self.print("* press Enter to leave").await;
        }
        self.order(Job::Flush).await;
        loop {
            if self.gate.stage() == Stage::Editing {
                interrupt();
            }
            if let Ok(None) = timeout(AGAIN, self.typed.recv()).await {
                return;
            }
        }
    }

    async fn order(&self, job: impl FnOnce(oneshot::Sender<()>) -> Job) {
        let (done, waiting) = oneshot::channel();
        // The printing thread lives as long as this.
        let _ = self.jobs.send(job(done));
        let _ = waiting.await;
    }
}

/// Reads lines up to a farewell.
fn edit(
    editor: &mut Editor<Hook, DefaultHistory>,
    prompt: &str,
    gate: &Gate,
    tell: &mpsc::UnboundedSender<Typed>,
) {
    loop {
        let command = match editor.readline(prompt) {
            Ok(line) => Command::parse(&line),
            // ctrl-c, ctrl-d, or a terminal that has gone.
            Err(_) => Ok(Command::quit()),
        };
        let is_last = matches!(command, Ok(Command::Close { .. }));
        gate.set(if is_last { Stage::Over } else { Stage::Between });
        if tell.send(Typed::Line(command)).is_err() || is_last {
            return;
        }
    }
}

fn print(printer: &mut impl ExternalPrinter, gate: &Gate, jobs: &blocking::Receiver<Job>) {
    for job in jobs {
        // Between two lines the editor's printer would write at once, before what still waits for the next line.
        let stage = gate.wait();
        let done = match job {
            Job::Print(text, done) => {
                if printer.print(text.clone()).is_err() {
                    // The editor has ended meanwhile. Nobody is left to be told that the terminal has gone, too.
                    let _ = io::stdout().write_all(text.as_bytes());
                }
                done
            }
            Job::Flush(done) => {
                if stage == Stage::Editing {
                    // The editor holds one text besides the one it shows, so that the second of these gets in when
                    // the first is being shown and everything before it has been.
                    let _ = printer.print(NOTHING.to_owned());
                    let _ = printer.print(NOTHING.to_owned());
                }
                done
            }
        };
        let _ = done.send(());
    }
}

/// Makes the editor return from the line it reads: the signal is the only thing besides keys that does.
#[cfg(unix)]
fn interrupt() {
    use nix::{
        sys::signal::{Signal, kill},
        unistd::Pid,
    };
    // Sent while the editor does not listen, it goes to whoever waits for signals, who then waits for this end already.
    let _ = kill(Pid::this(), Signal::SIGINT);
}

#[cfg(not(unix))]
fn interrupt() {}

/// What the editor is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The next line has not begun.
    #[default]
    Between,
    Editing,
    Over,
}

#[derive(Default)]
struct Gate {
    stage: Mutex<Stage>,
    changed: Condvar,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self) -> Stage {
        *self.lock()
    }

    fn set(&self, stage: Stage) {
        *self.lock() = stage;
        self.changed.notify_all();
    }

    /// Waits until it is decided whether there is another line.
    fn wait(&self) -> Stage {
        let between = |stage: &mut Stage| *stage == Stage::Between;
        let waited = self.changed.wait_while(self.lock(), between);
        *waited.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the gate when the editor has taken over the terminal: it asks for a hint before it draws a line.
struct Hook(Arc<Gate>);

impl Hinter for Hook {
    type Hint = String;

    fn hint(&self, _line: &str, _position: usize, _context: &Context<'_>) -> Option<String> {
        self.0.set(Stage::Editing);
        None
    }
}

impl Completer for Hook {
    type Candidate = String;
}

impl Highlighter for Hook {}

impl Validator for Hook {}

impl Helper for Hook {}
