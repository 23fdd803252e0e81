//! The files settings name.

use super::ConfigError;
use relay_tokio::{CertificateDer, TlsAcceptor};
use relay_transport::tls::{TlsError, certificates_from_pem, mutual_server_config, server_config};
use serde::de::DeserializeOwned;
use std::{fs, path::Path};

pub(super) fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(path).map_err(|error| ConfigError::Unreadable {
        what,
        path: path.display().to_string(),
        error,
    })
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let pem = read("the certificates", path)?;
    certificates_from_pem(&pem).map_err(|error| ConfigError::Certificates {
        path: path.display().to_string(),
        error,
    })
}

/// TLS with the certificate and the key in these files, where both are given, for clients whose certificates have one of
/// these roots, where that is given.
///
/// # Errors
///
/// Where one is missing, or is of no use.
pub(crate) fn tls_of(
    certificate: Option<&Path>,
    key: Option<&Path>,
    client_roots: Option<&Path>,
) -> Result<Option<TlsAcceptor>, ConfigError> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => tls(certificate, key, client_roots).map(Some),
        (None, None) if client_roots.is_some() => Err(ConfigError::NoTls),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::NoTlsKey),
        (None, Some(_)) => Err(ConfigError::NoTlsCertificate),
    }
}

fn tls(
    certificate: &Path,
    key: &Path,
    client_roots: Option<&Path>,
) -> Result<TlsAcceptor, ConfigError> {
    let chain = read("the certificate", certificate)?;
    let secret = read("the private key", key)?;
    let unusable = |error| ConfigError::Tls {
        certificate: certificate.display().to_string(),
        key: key.display().to_string(),
        error,
    };
    let config = match client_roots {
        None => server_config(&chain, &secret).map_err(unusable)?,
        Some(path) => {
            let roots = read("the root certificates", path)?;
            mutual_server_config(&chain, &secret, &roots).map_err(|error| match error {
                TlsError::Roots(_) => ConfigError::ClientRoots {
                    roots: path.display().to_string(),
                    error,
                },
                error => unusable(error),
            })?
        }
    };
    Ok(config)
}

/// Reads a file of settings.
///
/// # Errors
///
/// The place of the first thing that is wrong in it, and what.
pub(crate) fn read_file<L: DeserializeOwned>(path: &Path) -> Result<L, ConfigError> {
    let bytes = read("the settings", path)?;
    let text = String::from_utf8_lossy(&bytes);
    toml::from_str(&text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        ConfigError::File {
            place: format!("{}:{line}", path.display()),
            problem: error.message().replace('\n', " "),
        }
    })
}
