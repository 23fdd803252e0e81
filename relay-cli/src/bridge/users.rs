//! Who may hand in mail.

use crate::failure::Failure;
use relay_proto::smtp::Credentials;
use std::{collections::BTreeSet, fmt, fs, path::Path};

/// The users of a bridge, one at least.
pub(super) struct Users(Vec<Credentials>);

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
                Ok(Some(Self(vec![Credentials::new(user, password)])))
            }
            (None, None, Some(path)) => Self::read(path).map(Some),
            (_, _, Some(_)) => Err(Failure::usage(
                "--users-file excludes --user and --password-file: give it, or them",
            )),
        }
    }

    fn read(path: &Path) -> Result<Self, Failure> {
        let text = read("the users", path)?;
        let (mut users, mut names) = (Vec::new(), BTreeSet::new());
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
            users.push(Credentials::new(name, password));
        }
        if users.is_empty() {
            return Err(Failure::usage(format_args!(
                "no user in {}; it has one a line, NAME:PASSWORD",
                path.display()
            )));
        }
        Ok(Self(users))
    }

    /// Whether it is one of them. Every one is compared, so that the time taken does not say which.
    pub(super) fn know(&self, credentials: &Credentials) -> bool {
        self.0
            .iter()
            .fold(false, |known, user| known | (user == credentials))
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.0.len())
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
