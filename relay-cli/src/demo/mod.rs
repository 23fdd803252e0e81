use crate::failure::Failure;
use std::process::ExitCode;
pub(crate) async fn demo() -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
