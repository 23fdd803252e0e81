//! A password as it is kept: as it is, or as a hash that only tells whether another is the same.

use argon2::{
    Argon2, Params,
    password_hash::{PasswordVerifier, phc::PasswordHash},
};

/// The most memory a hash may want, in KiB: 1 GiB. More is a slip, and would be taken at every attempt.
const MOST_MEMORY: u32 = 1 << 20;

/// A password, or its hash by Argon2 (RFC 9106) in the PHC string format.
#[derive(Clone)]
pub(super) enum Password {
    Plain(String),
    Hashed(Box<PasswordHash>),
}

impl Password {
    /// Reads what is kept of a password. What looks like a hash is one, or of no use: as a password, whoever reads the file would
    /// have it.
    ///
    /// # Errors
    ///
    /// What is wrong with a hash; the hash is not in the text.
    pub(super) fn from_text(text: &str) -> Result<Self, &'static str> {
        let Some((scheme, _)) = text.strip_prefix('$').and_then(|rest| rest.split_once('$')) else {
            return Ok(Self::Plain(text.to_owned()));
        };
        if !matches!(scheme, "argon2id" | "argon2i" | "argon2d") {
            return Err("a password that begins like a hash, and is none by Argon2; hash it anew");
        }
        let hash = PasswordHash::new(text).ok();
        let hash = hash.filter(|hash| hash.salt.is_some() && hash.hash.is_some());
        let damaged = "the hash of a password is damaged or cut; hash it anew";
        let hash = hash.ok_or(damaged)?;
        let params = Params::try_from(&hash).map_err(|_| damaged)?;
        match params.m_cost() > MOST_MEMORY {
            true => {
                Err("the hash of a password wants more than 1 GiB of memory; hash it with less")
            }
            false => Ok(Self::Hashed(Box::new(hash))),
        }
    }

    /// Whether it is the password of this hash. Takes as long and as much memory as the hash says.
    pub(super) fn verifies(hash: &PasswordHash, password: &str) -> bool {
        let checked = Argon2::default().verify_password(password.as_bytes(), hash);
        checked.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `sesame`, made by the program `argon2` of the reference implementation.
    const HASH: &str = "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQxMjM0NTY3OA$W1o3KmZoC5Pz8oEWwQZO2n4wuoIvqj2hJCO75Hj53xM";

    fn hash(text: &str) -> PasswordHash {
        match Password::from_text(text) {
            Ok(Password::Hashed(hash)) => *hash,
            Ok(Password::Plain(_)) => panic!("it is no hash"),
            Err(problem) => panic!("{problem}"),
        }
    }

    #[test]
    fn hashes_of_the_reference_implementation_know_their_password() {
        assert!(Password::verifies(&hash(HASH), "sesame"));
        for other in ["", "Sesame", "sesame ", HASH] {
            assert!(!Password::verifies(&hash(HASH), other), "{other}");
        }
    }

    #[test]
    fn what_does_not_look_like_a_hash_is_a_password() {
        for plain in ["sesame", "$", "$sesame", "pa$$word", "", " $argon2id$"] {
            let password = Password::from_text(plain);
            assert!(
                matches!(password, Ok(Password::Plain(text)) if text == plain),
                "{plain}"
            );
        }
    }

    #[test]
    fn hashes_of_no_use_are_refused_and_not_taken_for_passwords() {
        let cut = &HASH[..HASH.len() - 30];
        let end = HASH.rfind('$').unwrap();
        let greedy = HASH.replace("m=4096", "m=4000000");
        for (text, part) in [
            (
                "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
                "none by Argon2",
            ),
            ("$6$salt$hash", "none by Argon2"),
            ("$argon2id$", "damaged"),
            (&HASH[..end], "damaged"),
            (&HASH.replace("p=1", "p=0"), "damaged"),
            (&format!("{cut}!"), "damaged"),
            (&greedy, "1 GiB"),
        ] {
            match Password::from_text(text) {
                Err(problem) => assert!(problem.contains(part), "{text}: {problem}"),
                Ok(_) => panic!("{text} is taken"),
            }
        }
    }
}
