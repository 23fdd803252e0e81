//! Lists the public items of a crate, one a line: `public-api-listing FILE`, where FILE is what `rustdoc --output-format json` wrote.

use public_api::Builder;
use std::{env, error::Error, process::ExitCode};

fn main() -> ExitCode {
    match list() {
        Ok(listing) => {
            print!("{listing}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What follows from a type by itself (auto traits, blanket implementations) is left out.
fn list() -> Result<String, Box<dyn Error>> {
    let file = env::args().nth(1).ok_or("which file?")?;
    let api = Builder::from_rustdoc_json(file)
        .sorted(true)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()?;
    Ok(api.to_string())
}
