//! The program `relay`: serves, sends and demonstrates mail over durable relay links.

mod args;
mod bench;
mod bridge;
mod compose;
mod config;
mod console;
mod demo;
mod failure;
mod key_choice;
mod key_value;
mod keys;
mod known_keys;
mod mailbox;
mod printable;
mod rules;
mod send;
mod sendmail;
mod serve;
mod signals;
mod submit;
mod uplink;
mod way;

use args::Command;
use failure::Failure;
use std::process::ExitCode;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    run().unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        failure.code()
    })
}

fn run() -> Result<ExitCode, Failure> {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(arguments) = sendmail::is_called(&arguments) {
        let runtime = Runtime::new().map_err(Failure::running)?;
        return runtime.block_on(sendmail::sendmail(arguments));
    }
    let command = args::parse(arguments)?;
    let runtime = Runtime::new().map_err(Failure::running)?;
    match command {
        Command::Demo => runtime.block_on(demo::demo()),
        Command::Serve(arguments) => runtime.block_on(serve::serve(arguments)),
        Command::Compose(arguments) => runtime.block_on(compose::compose(arguments)),
        Command::Console(arguments) => runtime.block_on(console::console(arguments)),
        Command::Bench(arguments) => runtime.block_on(bench::bench(arguments)),
        Command::Bridge(arguments) => runtime.block_on(bridge::bridge(arguments)),
        Command::Sendmail(raw) => runtime.block_on(sendmail::sendmail(&raw.arguments)),
        Command::Kv(command) => runtime.block_on(key_value::key_value(command)),
        Command::Send(arguments) => runtime.block_on(send::send(arguments)),
    }
}
