use super::*;
use rcgen::KeyPair;

/// A certificate and a key that belong together, in PEM form.
fn identity() -> (String, String) {
    let identity = rcgen::generate_simple_self_signed(["alice".to_owned()]).unwrap();
    (identity.cert.pem(), identity.signing_key.serialize_pem())
}

#[test]
fn what_cannot_be_used_is_named() {
    let (certificate, key) = identity();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    // No base64 whatever follows; to leave a character out would do only where the padding does not make up for it.
    let damaged = certificate.replacen("MII", "M!I", 1);
    for (certificate, key, part) in [
        (&*certificate, &*key, ""),
        ("", &*key, "no certificate in PEM form"),
        (&*key, &*key, "no certificate in PEM form"),
        (&*damaged, &*key, "no certificate in PEM form"),
        (&*certificate, "", "no private key in PEM form"),
        (&*certificate, &*certificate, "no private key in PEM form"),
        (&*certificate, &*encrypted, "openssl pkey"),
        (&*certificate, &*other, "certificate and key cannot be used"),
    ] {
        let (certificate, key) = (certificate.as_bytes(), key.as_bytes());
        let client = ClientCertificate::from_pem(certificate, key).map(drop);
        let server = server_config(certificate, key).map(drop);
        for result in [client, server] {
            match result {
                Ok(()) => assert_eq!(part, ""),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!part.is_empty() && error.contains(part), "{error}");
                }
            }
        }
    }
}

#[test]
fn clients_are_asked_for_certificates_that_roots_vouch_for() {
    let (certificate, key) = identity();
    let with = |roots: &str| {
        mutual_server_config(certificate.as_bytes(), key.as_bytes(), roots.as_bytes())
    };
    assert!(with(&certificate).is_ok());
    for roots in ["", &key] {
        let error = with(roots).unwrap_err().to_string();
        assert!(
            error.starts_with("the root certificates for clients"),
            "{error}"
        );
    }
}

#[test]
fn a_proxy_is_shown_no_certificate() {
    let (certificate, key) = identity();
    let mut config = Config {
        extra_roots: certificates_from_pem(certificate.as_bytes()).unwrap(),
        ..Config::default()
    };
    let shows = |config: &ClientConfig| config.client_auth_cert_resolver.has_certs();
    let clients = TlsClients::new(&config).unwrap();
    assert!(!shows(&clients.server) && !shows(&clients.proxy));
    let own = ClientCertificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    assert_eq!(format!("{own:?}"), "ClientCertificate { chain: 1, .. }");
    config.client_certificate = Some(own);
    let clients = TlsClients::new(&config).unwrap();
    assert!(shows(&clients.server) && !shows(&clients.proxy));
}
