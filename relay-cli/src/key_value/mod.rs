//! `relay kv`: a key-value service from the command line.

mod arguments;
mod place;
mod show;
mod verdict;
mod watch;

pub(crate) use arguments::{KeyValueCommand, NOTES};

use crate::failure::Failure;
use arguments::{TokenArgs, ValueArgs};
use bytes::Bytes;
use place::Place;
use relay_proto::kv::{
    client::{Answer, Call, Credential},
    token::Scope,
};
use relay_tokio::kv::{Client, request_token};
use std::{
    fs,
    io::{self, Read, Write},
    process::ExitCode,
    time::Duration,
};

/// Carries one command out.
///
/// # Errors
///
/// Where there is no use in beginning, or the service does not do it.
pub(crate) async fn key_value(command: KeyValueCommand) -> Result<ExitCode, Failure> {
    if let Some(warning) = command.place().warning() {
        eprintln!("warning: {warning}");
    }
    match command {
        KeyValueCommand::Get(get) => {
            let value = ask(&get.place, Call::get(get.key)).await?;
            if let Answer::Value(value) = value {
                show::value(&value, get.raw);
            }
        }
        KeyValueCommand::Set(set) => {
            let value = value(&set)?;
            ask(&set.place, Call::set(set.key, value)).await?;
        }
        KeyValueCommand::Patch(patch) => {
            let value = value(&patch)?;
            ask(&patch.place, Call::patch(patch.key, value)).await?;
        }
        KeyValueCommand::Delete(delete) => {
            ask(&delete.place, Call::delete(delete.key)).await?;
        }
        KeyValueCommand::Range(range) => {
            let mut call = Call::range(range.from, range.to);
            if let Some(limit) = range.limit {
                call = call.limit(limit.get());
            }
            if let Answer::Range(found) = ask(&range.place, call).await? {
                show::range(&found, range.json);
            }
        }
        KeyValueCommand::Incr(increment) => {
            let call = Call::increment(increment.key, increment.by);
            if let Answer::Number(number) = ask(&increment.place, call).await? {
                show::line(&number.to_string());
            }
        }
        KeyValueCommand::Watch(arguments) => watch::watch(arguments).await?,
        KeyValueCommand::Token(arguments) => {
            let token = token(&arguments).await?;
            show::line(&token);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes one call.
async fn ask(place: &Place, call: Call) -> Result<Answer, Failure> {
    let (config, transport) = place.configure(place.credential()?)?;
    let client = Client::start(config, transport);
    let answer = client.call(call).await;
    client.shutdown(Duration::ZERO).await;
    answer.map_err(|error| verdict::of_call(&error))
}

/// The value on the command line, in a file, or on standard input.
fn value(arguments: &ValueArgs) -> Result<Bytes, Failure> {
    match (&arguments.value, &arguments.file) {
        (Some(value), _) => Ok(value.clone().into()),
        (None, Some(path)) => fs::read(path).map(Bytes::from).map_err(|error| {
            let path = path.display();
            Failure::usage(format_args!("cannot read the value in {path}: {error}"))
        }),
        (None, None) => {
            let mut value = Vec::new();
            let read = io::stdin().read_to_end(&mut value);
            read.map_err(|error| {
                Failure::usage(format_args!(
                    "cannot read the value from standard input: {error}"
                ))
            })?;
            Ok(value.into())
        }
    }
}

async fn token(arguments: &TokenArgs) -> Result<String, Failure> {
    let mut scope = Scope::default();
    scope.subscribe.clone_from(&arguments.subscribe);
    scope.access.clone_from(&arguments.access);
    match ask_for_token(&arguments.place, scope).await? {
        Credential::Token(token) | Credential::ApiKey(token) => Ok(token),
    }
}

/// Asks for a token with the API key.
async fn ask_for_token(place: &Place, scope: Scope) -> Result<Credential, Failure> {
    let credential = place.credential()?;
    let Credential::ApiKey(key) = &credential else {
        return Err(Failure::usage(
            "a token is made with an API key: give --api-key, --api-key-file or RELAY_API_KEY",
        ));
    };
    let transport = place.transport(&credential)?;
    request_token(&place.url, key, &scope, place.patience(), transport)
        .await
        .map_err(|error| verdict::of_token(&error))
}

/// Writes to standard output; whoever read it may have gone.
fn print(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
