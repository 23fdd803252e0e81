//! Tokens: what the holder of a key lets somebody else do, in a text that needs no keeping.

use super::account::KeyDigest;
use crate::storage::encoding::{Decoder, Encoder, Problem};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The format of tokens, and what else is signed here some day begins with another number.
const FORMAT: u8 = 1;

/// The longest token, in characters: less than the first line of a request may have.
const MAX_TOKEN: usize = 12 * 1024;

/// What a token says.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Claims {
    /// The key it was made with, and dies with.
    pub(super) key: KeyDigest,
    /// The keys its bearer may see and change; none: all.
    pub(super) access: Option<String>,
    /// The keys its bearer is told of.
    pub(super) subscriptions: Vec<String>,
}

/// Signs tokens, and tells its own from others.
#[derive(Clone)]
pub(super) struct Signer([u8; 32]);

impl Signer {
    pub(super) const fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    pub(super) const fn secret(&self) -> &[u8; 32] {
        &self.0
    }

    /// The token with these claims: the claims and their HMAC-SHA-256 (RFC 2104), each in base64url without padding.
    pub(super) fn sign(&self, claims: &Claims) -> String {
        let Claims {
            key,
            access,
            subscriptions,
        } = claims;
        let access: Vec<_> = access.iter().collect();
        let payload = Encoder::new(FORMAT)
            .bytes(key.as_bytes())
            .each(&access, |encoder, text| encoder.text(text))
            .each(subscriptions, |encoder, text| encoder.text(text))
            .finish();
        let signature = self.mac(&payload).finalize().into_bytes();
        let (payload, signature) = (
            URL_SAFE_NO_PAD.encode(payload),
            URL_SAFE_NO_PAD.encode(signature),
        );
        format!("{payload}.{signature}")
    }

    /// What a token says, if it was signed here.
    pub(super) fn read(&self, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (payload, signature) = token.split_once('.')?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        // Takes the same time wherever the signatures differ.
        self.mac(&payload).verify_slice(&signature).ok()?;
        claims(payload.into()).ok()
    }

    fn mac(&self, payload: &[u8]) -> Hmac<Sha256> {
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0);
        let mac = mac.expect("a key for HMAC may have any length");
        mac.chain_update(payload)
    }
}

fn claims(payload: Bytes) -> Result<Claims, Problem> {
    let mut decoder = Decoder::new(payload);
    if decoder.byte()? != FORMAT {
        return Err("it is of another format");
    }
    let key = decoder.bytes()?;
    let key = <[u8; 32]>::try_from(&*key).map_err(|_| "it is not a digest")?;
    let access = decoder.each(Decoder::text)?;
    Ok(Claims {
        key: KeyDigest::from_bytes(key),
        access: access.first().map(ToString::to_string),
        subscriptions: decoder.each(Decoder::text)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{borrow::ToOwned, vec};

    fn claims() -> Claims {
        Claims {
            key: KeyDigest::of("key"),
            access: Some("user:*".into()),
            subscriptions: vec!["user:*".into(), "ü".into()],
        }
    }

    #[test]
    fn a_token_says_what_was_signed_and_fits_into_a_url_as_it_is() {
        let signer = Signer::new([7; 32]);
        let bare = Claims {
            access: None,
            subscriptions: vec![],
            ..claims()
        };
        for claims in [claims(), bare] {
            let token = signer.sign(&claims);
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            assert!(token.bytes().all(is_plain), "{token}");
            assert_eq!(signer.read(&token), Some(claims));
        }
    }

    #[test]
    fn a_token_that_was_changed_anywhere_is_none() {
        let signer = Signer::new([7; 32]);
        let token = signer.sign(&claims());
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            // The last character of a base64 text has bits that mean nothing, and must be zero.
            assert_eq!(signer.read(&changed), None, "{at}");
        }
        for cut in 0..token.len() {
            assert_eq!(signer.read(&token[..cut]), None, "{cut}");
        }
        assert_eq!(signer.read(&(token.clone() + "A")), None);
        assert_eq!(Signer::new([8; 32]).read(&token), None, "signed by another");
        assert_eq!(signer.read(&"A".repeat(20_000)), None);
        assert_eq!(signer.read("."), None);
        let (payload, _) = token.split_once('.').unwrap();
        assert_eq!(signer.read(&(payload.to_owned() + ".")), None);
    }

    /// HMAC-SHA-256, so that tokens outlive releases: computed with another library (Python's `hmac`).
    #[test]
    fn the_signature_is_hmac_sha_256_of_the_payload() {
        let signer = Signer::new(core::array::from_fn(|index| index as u8));
        let signature = signer.mac(b"payload").finalize().into_bytes();
        assert_eq!(URL_SAFE_NO_PAD.encode(signature), EXPECTED);
    }

    const EXPECTED: &str = "aAJREYRlDgc6C-GdUJKdbJUfBgvcpsQeA3848TwCWIE";
}
