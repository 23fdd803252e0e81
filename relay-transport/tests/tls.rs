//! Certificates, keys and seeds as they come from outside.

use rcgen::{CertificateParams, KeyPair};
use relay_transport::{seed, tls::server_config};

#[test]
fn unusable_certificates_say_why() {
    let (key, other_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap()
        .pem();
    let cases = [
        ("", key.serialize_pem(), "no certificate in PEM form"),
        (
            certificate.as_str(),
            String::new(),
            "no private key in PEM form",
        ),
        (
            certificate.as_str(),
            other_key.serialize_pem(),
            "cannot be used",
        ),
    ];
    for (chain, key, expected) in cases {
        let error = server_config(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn seeds_differ() {
    assert_ne!(seed(), seed());
}
