//! What `relay kv` is told.

use super::place::Place;
use clap::{ArgMatches, Args, Subcommand};
use std::{num::NonZeroU64, path::PathBuf};

pub(crate) const NOTES: &str = "\
Exit codes:
  0  done
  1  there is no such key
  2  the command line is wrong, or a file cannot be read
  3  the service refused the API key or the token
  4  the service cannot be reached, or did not answer in time
  5  the service refused what was asked
  6  a change was sent, but its answer got lost: it may have been made, once, or not";

#[derive(Debug, Subcommand)]
pub(crate) enum KeyValueCommand {
    /// Print the value of a key
    Get(GetArgs),
    /// Set a key to a value
    Set(ValueArgs),
    /// Merge a JSON object into the one a key holds (RFC 7396); append where either is none
    Patch(ValueArgs),
    /// Delete a key
    Delete(KeyArgs),
    /// Print the keys from one to another, both included, with their values
    Range(RangeArgs),
    /// Add to the number a key holds, and print what it is then; a key that is not there holds 0
    Incr(IncrementArgs),
    /// Print the changes of keys that match a pattern, as they happen, until interrupted
    ///
    /// A pattern is a key, or one with * in it, which stands for anything, or a regular expression.
    Watch(WatchArgs),
    /// Print a token: what lets others in who must not have the API key
    ///
    /// A token never expires; it ends with the API key it was made with.
    Token(TokenArgs),
}

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// The key
    #[arg(value_name = "KEY")]
    pub(super) key: String,
    /// Print the value as it is, and no line end behind it
    #[arg(long)]
    pub(super) raw: bool,
}

#[derive(Args, Debug)]
pub(crate) struct ValueArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// The key
    #[arg(value_name = "KEY")]
    pub(super) key: String,
    /// The value [default: what comes on standard input]
    #[arg(
        value_name = "VALUE",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    pub(super) value: Option<String>,
    /// Take the value from this file, as it is
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct KeyArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// The key
    #[arg(value_name = "KEY")]
    pub(super) key: String,
}

#[derive(Args, Debug)]
pub(crate) struct RangeArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// The first key
    #[arg(value_name = "FROM")]
    pub(super) from: String,
    /// The last key
    #[arg(value_name = "TO")]
    pub(super) to: String,
    /// Print no more than so many [default: as many as the service gives at once]
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<NonZeroU64>,
    /// Print JSON, an object a line; a value that is not UTF-8 is in base64, and says so
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct IncrementArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// The key
    #[arg(value_name = "KEY")]
    pub(super) key: String,
    /// What to add
    #[arg(value_name = "BY", default_value = "1", allow_negative_numbers = true)]
    pub(super) by: i64,
}

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Which keys, where --token does not say so
    #[arg(
        value_name = "PATTERN",
        required_unless_present = "token",
        conflicts_with = "token"
    )]
    pub(super) patterns: Vec<String>,
    /// End after so many changes
    #[arg(long, value_name = "N")]
    pub(super) count: Option<NonZeroU64>,
    /// Print JSON, an object a line; a value that is not UTF-8 is in base64, and says so
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    pub(super) place: Place,
    /// Let its holder be told of changes of keys that match this pattern; may be given several times
    #[arg(long, value_name = "PATTERN")]
    pub(super) subscribe: Vec<String>,
    /// Let its holder read and change only keys that match this pattern [default: all]
    #[arg(long, value_name = "PATTERN")]
    pub(super) access: Option<String>,
}

impl KeyValueCommand {
    /// Where the service is.
    pub(super) const fn place(&self) -> &Place {
        match self {
            Self::Get(arguments) => &arguments.place,
            Self::Set(arguments) | Self::Patch(arguments) => &arguments.place,
            Self::Delete(arguments) => &arguments.place,
            Self::Range(arguments) => &arguments.place,
            Self::Incr(arguments) => &arguments.place,
            Self::Watch(arguments) => &arguments.place,
            Self::Token(arguments) => &arguments.place,
        }
    }

    /// Lets the command line win over the environment where two options are one setting.
    pub(crate) fn settle(&mut self, matches: &ArgMatches) {
        let Some((_, matches)) = matches.subcommand() else {
            return;
        };
        match self {
            Self::Get(arguments) => arguments.place.settle(matches),
            Self::Set(arguments) | Self::Patch(arguments) => arguments.place.settle(matches),
            Self::Delete(arguments) => arguments.place.settle(matches),
            Self::Range(arguments) => arguments.place.settle(matches),
            Self::Incr(arguments) => arguments.place.settle(matches),
            Self::Watch(arguments) => arguments.place.settle(matches),
            Self::Token(arguments) => arguments.place.settle(matches),
        }
    }
}
