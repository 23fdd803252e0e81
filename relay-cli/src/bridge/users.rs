//! Who may hand in mail.

use super::password::Password;
use crate::failure::Failure;
use argon2::password_hash::phc::PasswordHash;
use relay_proto::smtp::Credentials;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::Path,
};

/// The users of a bridge, one at least.
#[derive(Default)]
pub(super) struct Users {
    plain: Vec<Credentials>,
    hashed: BTreeMap<String, PasswordHash>,
}

impl Users {
    /// Reads those that are named, by a user and the file of his password or by a file of users.
    ///
    /// # Errors
    ///
    /// What is missing, too much, unreadable or malformed. No password is in the text.
    pub(super) fn gather(
        user: Option<String>,
        password_file: Option<&Path>,
        users_file: Option<&Path>,
    ) -> Result<Option<Self>, Failure> {
        match (user, password_file, users_file) {
            (None, None, None) => Ok(None),
            (Some(_), None, None) => Err(Failure::usage(
                "--user without --password-file: give both or neither",
            )),
            (None, Some(_), None) => Err(Failure::usage(
                "--password-file without --user: give both or neither",
            )),
            (Some(user), Some(path), None) => {
                let text = read("the password", path)?;
                let password = text.lines().next().unwrap_or_default();
                if user.is_empty() || password.is_empty() {
                    return Err(Failure::usage(format_args!(
                        "--user and the first line of {} must not be empty",
                        path.display()
                    )));
                }
                let mut users = Self::default();
                users.add(&user, password).map_err(|problem| {
                    Failure::usage(format_args!("{}:1: {problem}", path.display()))
                })?;
                Ok(Some(users))
            }
            (None, None, Some(path)) => Self::read(path).map(Some),
            (_, _, Some(_)) => Err(Failure::usage(
                "--users-file excludes --user and --password-file: give it, or them",
            )),
        }
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let text = read("the users", path)?;
        let (mut users, mut names) = (Self::default(), BTreeSet::new());
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |problem: &str| {
                Failure::usage(format_args!("{}:{}: {problem}", path.display(), index + 1))
            };
            let (name, password) = line
                .split_once(':')
                .filter(|(name, password)| !name.is_empty() && !password.is_empty())
                .ok_or_else(|| wrong("a user looks like NAME:PASSWORD"))?;
            if !names.insert(name) {
                return Err(wrong("this user is named twice"));
            }
            users.add(name, password).map_err(wrong)?;
        }
        if names.is_empty() {
            return Err(Failure::usage(format_args!(
                "no user in {}; it has one a line, NAME:PASSWORD",
                path.display()
            )));
        }
        Ok(users)
    }

    fn add(&mut self, name: &str, password: &str) -> Result<(), &'static str> {
        match Password::from_text(password)? {
            Password::Plain(password) => self.plain.push(Credentials::new(name, password)),
            Password::Hashed(hash) => drop(self.hashed.insert(name.to_owned(), *hash)),
        }
        Ok(())
    }

    /// Whether it takes long to know somebody.
    pub(super) fn are_hashed(&self) -> bool {
        !self.hashed.is_empty()
    }

    /// Whether it is one of them. Every password is compared, and one hash checked whoever it is, so that the time taken does not say
    /// who is known.
    pub(super) fn know(&self, credentials: &Credentials) -> bool {
        let plain = self.plain.iter();
        let plain = plain.fold(false, |known, user| known | (user == credentials));
        let own = self.hashed.get(credentials.user_name());
        let hash = own.or_else(|| self.hashed.values().next());
        let verified =
            hash.is_some_and(|hash| Password::verifies(hash, credentials.expose_password()));
        plain | (own.is_some() & verified)
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.plain.len() + self.hashed.len())
    }
}

fn read(what: &str, path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        Failure::usage(format_args!(
            "cannot read {what} {}: {error}",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn a_file_has_a_user_a_line_and_passwords_may_hold_anything() {
        let file = file("# staff\n\nalice:open: sesame \r\nbob@example.org:#1\n");
        let users = Users::gather(None, None, Some(file.path()))
            .unwrap()
            .unwrap();
        for (name, password, known) in [
            ("alice", "open: sesame ", true),
            ("bob@example.org", "#1", true),
            ("alice", "#1", false),
            ("alice", "open: sesame", false),
            ("Alice", "open: sesame ", false),
            ("", "", false),
        ] {
            let credentials = Credentials::new(name, password);
            assert_eq!(users.know(&credentials), known, "{name}:{password}");
        }
        assert_eq!(format!("{users:?}"), "Users(2)");
    }

    /// Of `sesame` and `open`, made by the program `argon2` of the reference implementation.
    const HASHES: [&str; 2] = [
        "$argon2id$v=19$m=4096,t=3,p=1$c29tZXNhbHQxMjM0NTY3OA$W1o3KmZoC5Pz8oEWwQZO2n4wuoIvqj2hJCO75Hj53xM",
        "$argon2id$v=19$m=19456,t=2,p=1$YW5vdGhlcnNhbHQxMjM0NQ$N1O70fEHIVasTmU7h4nuMkptdnl25awcLR4oZp7fhsY",
    ];

    #[test]
    fn passwords_may_be_kept_as_hashes_which_are_no_passwords_themselves() {
        let [sesame, open] = HASHES;
        let file = file(&format!("alice:{sesame}\nbob:{open}\ncarol:plain\n"));
        let users = Users::gather(None, None, Some(file.path()))
            .unwrap()
            .unwrap();
        assert!(users.are_hashed());
        for (name, password, known) in [
            ("alice", "sesame", true),
            ("bob", "open", true),
            ("carol", "plain", true),
            ("alice", "open", false),
            ("alice", sesame, false),
            ("carol", "sesame", false),
            ("nobody", "sesame", false),
        ] {
            let credentials = Credentials::new(name, password);
            assert_eq!(users.know(&credentials), known, "{name}:{password}");
        }
        assert_eq!(format!("{users:?}"), "Users(3)");
        let file = self::file(&format!("{sesame}\n"));
        let users = Users::gather(Some("alice".to_owned()), Some(file.path()), None);
        let users = users.unwrap().unwrap();
        assert!(users.know(&Credentials::new("alice", "sesame")));
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let file = file("sesame\nmore\n");
        let users = Users::gather(Some("alice".to_owned()), Some(file.path()), None);
        let users = users.unwrap().unwrap();
        assert!(users.know(&Credentials::new("alice", "sesame")));
        assert!(!users.know(&Credentials::new("alice", "sesame\nmore")));
    }

    #[test]
    fn what_is_wrong_is_named_without_a_password() {
        for (text, part) in [
            (
                "alice:sesame\nsesame\n",
                ":2: a user looks like NAME:PASSWORD",
            ),
            (":sesame", ":1: a user looks like"),
            ("alice:", ":1: a user looks like"),
            (
                "alice:sesame\nalice:sesame2",
                ":2: this user is named twice",
            ),
            ("# nobody\n", "no user in "),
            (
                "alice:x\nbob:$2y$10$sesame",
                ":2: a password that begins like a hash",
            ),
            (
                "alice:$argon2id$sesame",
                ":1: the hash of a password is damaged",
            ),
        ] {
            let file = file(text);
            let error = Users::gather(None, None, Some(file.path())).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("sesame"), "{error}");
        }
        let empty = file("\n");
        let cases = [
            (Some("alice"), None, None, "without --password-file"),
            (None, Some(empty.path()), None, "without --user"),
            (Some("alice"), Some(empty.path()), None, "must not be empty"),
            (Some("alice"), None, Some(empty.path()), "excludes --user"),
            (None, None, Some(Path::new("no/such")), "the users no/such"),
        ];
        for (user, password, users, part) in cases {
            let error = Users::gather(user.map(Into::into), password, users).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
