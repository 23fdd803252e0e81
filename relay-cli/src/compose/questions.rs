//! Asks whoever is at the terminal, or reads the answers where nobody is.

use rustyline::{DefaultEditor, error::ReadlineError};
use std::io::{self, BufRead, IsTerminal, Read, Stdin};

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// Whoever was asked has had enough.
    Cancelled,
    /// There is nobody to ask again.
    Wrong(String),
    /// The terminal or standard input failed.
    Failed(String),
}

/// Where answers come from.
pub(super) enum Questions {
    Terminal(Box<DefaultEditor>),
    Lines(Stdin),
}

impl Questions {
    pub(super) fn new() -> Result<Self, NoAnswer> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Ok(Self::Lines(io::stdin()));
        }
        let editor = DefaultEditor::new().map_err(|error| NoAnswer::Failed(error.to_string()))?;
        Ok(Self::Terminal(Box::new(editor)))
    }

    /// Whether somebody is there.
    pub(super) const fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// Asks for `what` until the answer can be read, with the last one to be mended.
    ///
    /// `option` is what would have answered it beforehand.
    pub(super) fn ask<T>(
        &mut self,
        what: &str,
        option: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, NoAnswer> {
        let mut given = String::new();
        loop {
            given = self.line(what, option, &given)?;
            match (read(&given), &self) {
                (Ok(answer), _) => return Ok(answer),
                (Err(problem), Self::Terminal(_)) => println!("  {problem}"),
                (Err(problem), Self::Lines(_)) => {
                    return Err(NoAnswer::Wrong(format!("{what}: {problem}")));
                }
            }
        }
    }

    /// All that is still to come: at a terminal, up to ctrl-d on a line of its own.
    pub(super) fn rest(&mut self) -> Result<String, NoAnswer> {
        let mut text = String::new();
        match self {
            Self::Lines(stdin) => {
                let read = stdin.lock().read_to_string(&mut text);
                read.map_err(unreadable)?;
            }
            Self::Terminal(editor) => loop {
                match editor.readline("") {
                    Ok(line) => {
                        text.push_str(&line);
                        text.push('\n');
                    }
                    Err(ReadlineError::Eof) => break,
                    Err(error) => return Err(unanswered(error)),
                }
            },
        }
        Ok(text)
    }

    fn line(&mut self, what: &str, option: &str, given: &str) -> Result<String, NoAnswer> {
        match self {
            Self::Terminal(editor) => editor
                .readline_with_initial(&format!("{what}: "), (given, ""))
                .map_err(unanswered),
            Self::Lines(stdin) => {
                let mut line = String::new();
                if stdin.lock().read_line(&mut line).map_err(unreadable)? == 0 {
                    return Err(NoAnswer::Wrong(format!(
                        "standard input ends where {what} should come: give {option}"
                    )));
                }
                Ok(line.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}

fn unreadable(error: io::Error) -> NoAnswer {
    if error.kind() == io::ErrorKind::InvalidData {
        return NoAnswer::Wrong("standard input is not UTF-8".to_owned());
    }
    NoAnswer::Failed(format!("cannot read standard input: {error}"))
}

fn unanswered(error: ReadlineError) -> NoAnswer {
    match error {
        ReadlineError::Interrupted | ReadlineError::Eof => NoAnswer::Cancelled,
        error => NoAnswer::Failed(format!("cannot read from the terminal: {error}")),
    }
}
