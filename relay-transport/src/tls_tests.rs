use super::*;
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ClientConnection, ServerConnection, pki_types::ServerName};

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

/// What a client says that looks for `name` and trusts the authority behind the server's certificate.
fn meets(
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
    name: &str,
) -> Result<(), rustls::Error> {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let root = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut certificate = CertificateParams::new(names).unwrap();
    change(&mut certificate);
    let key = KeyPair::generate().unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap().pem();
    let server = server_config(certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let config = Config {
        extra_roots: certificates_from_pem(root.pem().as_bytes()).unwrap(),
        ..Config::default()
    };
    let clients = TlsClients::new(&config).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(clients.server, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut said = Vec::new();
        client.write_tls(&mut said).unwrap();
        server.read_tls(&mut &*said).unwrap();
        server.process_new_packets()?;
        said.clear();
        while server.wants_write() {
            server.write_tls(&mut said).unwrap();
        }
        client.read_tls(&mut &*said).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn a_certificate_counts_for_its_names_and_its_time_and_nothing_else() {
    let refused = |result: Result<(), rustls::Error>| match result {
        Err(rustls::Error::InvalidCertificate(why)) => format!("{why:?}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(meets(&["relay.example"], |_| {}, "relay.example"), Ok(()));
    assert_eq!(
        meets(&["*.relay.example"], |_| {}, "a.relay.example"),
        Ok(())
    );
    for (names, name) in [
        (&["relay.example"][..], "other.example"),
        (&["relay.example"], "relay.example.evil.example"),
        (&["relay.example"], "a.relay.example"),
        (&["*.relay.example"], "a.b.relay.example"),
        (&["relay.example"], "192.0.2.1"),
        (&["192.0.2.1"], "192.0.2.2"),
        (&["192.0.2.1"], "relay.example"),
    ] {
        let why = refused(meets(names, |_| {}, name));
        assert!(
            why.contains("NotValidForName"),
            "{names:?} for {name}: {why}"
        );
    }
    assert_eq!(meets(&["192.0.2.1"], |_| {}, "192.0.2.1"), Ok(()));
    let old = |certificate: &mut CertificateParams| {
        certificate.not_before = date_time_ymd(2001, 1, 1);
        certificate.not_after = date_time_ymd(2002, 1, 1);
    };
    assert!(refused(meets(&["relay.example"], old, "relay.example")).contains("Expired"));
    let early = |certificate: &mut CertificateParams| {
        certificate.not_before = date_time_ymd(3000, 1, 1);
        certificate.not_after = date_time_ymd(3001, 1, 1);
    };
    assert!(refused(meets(&["relay.example"], early, "relay.example")).contains("NotValidYet"));
}
