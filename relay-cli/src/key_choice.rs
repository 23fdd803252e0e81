//! Which API key a client of the program shows: given, or in a file.

use crate::{
    args::{api_key, is_shadowed},
    failure::Failure,
    keys,
};
use clap::{ArgMatches, Args};
use relay_proto::mail::wire::ApiKey;
use std::path::PathBuf;

/// The API key, or where it is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct KeyChoice {
    /// The API key; better given in the environment or a file, where other users do not see it
    #[arg(long, value_name = "KEY", env = "RELAY_API_KEY", hide_env_values = true, value_parser = api_key)]
    pub(crate) api_key: Option<ApiKey>,
    /// A file whose first line that is neither empty nor a # comment is the API key
    #[arg(long, value_name = "FILE", env = "RELAY_API_KEY_FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
}

impl KeyChoice {
    /// Lets the command line win over the environment, since the two options are one setting.
    pub(crate) fn settle(&mut self, matches: &ArgMatches) {
        if is_shadowed(matches, "api_key", "api_key_file") {
            self.api_key = None;
        }
        if is_shadowed(matches, "api_key_file", "api_key") {
            self.api_key_file = None;
        }
    }

    /// The API key.
    ///
    /// # Errors
    ///
    /// Where there is none, or the file it is in cannot be read.
    pub(crate) fn key(&self) -> Result<ApiKey, Failure> {
        match (&self.api_key, &self.api_key_file) {
            (Some(key), None) => {
                keys::check(key).map_err(Failure::usage)?;
                Ok(key.clone())
            }
            (None, Some(path)) => {
                let keys = keys::read(path).map_err(Failure::usage)?;
                Ok(keys.into_iter().next().expect("there is one at least"))
            }
            (Some(_), Some(_)) => Err(Failure::usage(
                "--api-key and --api-key-file exclude each other: give one of them",
            )),
            (None, None) => Err(Failure::usage(
                "no API key: give --api-key, --api-key-file or RELAY_API_KEY",
            )),
        }
    }
}
