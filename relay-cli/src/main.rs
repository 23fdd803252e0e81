//! The program `relay`: serves, sends and demonstrates mail over durable relay links.

mod args;
mod config;
mod failure;
mod keys;
mod mailbox;
mod rules;

use args::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    let ended = args::parse(std::env::args_os()).and_then(|command| match command {
        Command::Demo => todo!(),
        Command::Serve(_) => todo!(),
        Command::Send(_) => todo!(),
    });
    ended.unwrap_or_else(|failure: failure::Failure| {
        eprintln!("error: {failure}");
        failure.code()
    })
}
