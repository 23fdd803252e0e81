//! Which keys a connection may see and change, and of which it is told.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
use regex_automata::{
    Anchored, Input,
    nfa::thompson::{self, pikevm},
    util::syntax,
};

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 256;

/// The most patterns of one connection.
const MAX_PATTERNS: usize = 32;

/// The most memory the compiled patterns of one connection take up together, in bytes. A match takes time in proportion to this and to
/// the length of the key, whatever both say.
const MAX_COMPILED: usize = 32 * 1024;

/// What it costs to look at a key at all, in the unit of [`Patterns::cost`].
const LOOK: usize = 1024;

/// Characters that make a pattern a regular expression.
const REGEX: &[char] = &['+', '?', '(', ')', '[', ']', '{', '}', '|', '^', '$', '\\'];

/// A pattern for keys.
///
/// What it means can be seen from its characters alone:
///
/// - with one of `+?()[]{}|^$\` in it, or `.*`, it is a regular expression that has to match the whole key;
/// - otherwise with `*` in it, each `*` stands for any characters, also none;
/// - otherwise it is a key.
///
/// Whatever it is, the key that reads like it matches, too. Regular expressions are those of the crate `regex` without its Unicode
/// classes: `\d`, `\w` and `.` are about bytes, and there are neither look-around nor back-references.
pub(super) struct Pattern {
    text: String,
    kind: Kind,
}

enum Kind {
    Key,
    /// The pieces between the stars; at least two.
    Glob(Vec<String>),
    Regex(pikevm::PikeVM),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct PatternError(String);

impl Pattern {
    fn new(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_PATTERN {
            let error = format!("a pattern has up to {MAX_PATTERN} bytes");
            return Err(PatternError(error));
        }
        let kind = if text.contains(REGEX) || text.contains(".*") {
            Kind::Regex(compile(text)?)
        } else if text.contains('*') {
            Kind::Glob(text.split('*').map(ToString::to_string).collect())
        } else {
            Kind::Key
        };
        let text = text.to_string();
        Ok(Self { text, kind })
    }

    fn matches(&self, key: &str) -> bool {
        if key == self.text {
            return true;
        }
        match &self.kind {
            Kind::Key => false,
            Kind::Glob(pieces) => glob(pieces, key),
            Kind::Regex(regex) => {
                let input = Input::new(key).anchored(Anchored::Yes);
                regex.is_match(&mut regex.create_cache(), input)
            }
        }
    }

    /// What every key that matches begins with.
    fn prefix(&self) -> &str {
        match &self.kind {
            Kind::Key => &self.text,
            Kind::Glob(pieces) => pieces.first().map_or("", String::as_str),
            Kind::Regex(_) => "",
        }
    }

    fn compiled_bytes(&self) -> usize {
        match &self.kind {
            Kind::Key | Kind::Glob(_) => 0,
            Kind::Regex(regex) => regex.get_nfa().memory_usage(),
        }
    }
}

/// Matches in time linear in the lengths of both, each piece as far to the left as it can be.
fn glob(pieces: &[String], key: &str) -> bool {
    let [first, middle @ .., last] = pieces else {
        return false;
    };
    let Some(mut rest) = key.strip_prefix(first.as_str()) else {
        return false;
    };
    for piece in middle {
        let Some(at) = rest.find(piece.as_str()) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last.as_str())
}

fn compile(text: &str) -> Result<pikevm::PikeVM, PatternError> {
    let syntax = syntax::Config::new()
        .unicode(false)
        .utf8(false)
        .nest_limit(32);
    let wrong = || PatternError("a pattern is no regular expression".into());
    // Alone first: what closes a group it has not opened would get out of the one around it.
    syntax::parse_with(text, &syntax).map_err(|_| wrong())?;
    let compiler = thompson::Config::new()
        .utf8(false)
        .nfa_size_limit(Some(MAX_COMPILED))
        .which_captures(thompson::WhichCaptures::None);
    pikevm::Builder::new()
        .syntax(syntax)
        .thompson(compiler)
        .build(&format!(r"\A(?:{text})\z"))
        .map_err(|error| match error.size_limit() {
            Some(_) => PatternError("a pattern is too large when written out".into()),
            None => wrong(),
        })
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({} bytes)", self.text.len())
    }
}

/// What a connection may do with keys.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// The keys it may see and change; none: all.
    access: Option<Pattern>,
    /// The keys it is told of.
    subscriptions: Vec<Pattern>,
    compiled_bytes: usize,
}

impl Patterns {
    /// # Errors
    ///
    /// Where one of them is no pattern, or they are too many or too large together.
    pub(super) fn new(
        access: Option<&str>,
        subscriptions: &[String],
    ) -> Result<Self, PatternError> {
        if subscriptions.len() > MAX_PATTERNS {
            let error = format!("there may be up to {MAX_PATTERNS} patterns");
            return Err(PatternError(error));
        }
        let mut compiled = 0;
        let mut pattern = |text: &str| {
            let pattern = Pattern::new(text)?;
            compiled += pattern.compiled_bytes();
            if compiled > MAX_COMPILED {
                let error = "the patterns are too large together when written out";
                return Err(PatternError(error.into()));
            }
            Ok(pattern)
        };
        let access = access.map(&mut pattern).transpose()?;
        let subscriptions = subscriptions.iter().map(|text| pattern(text));
        let subscriptions = subscriptions.collect::<Result<_, _>>()?;
        Ok(Self {
            access,
            subscriptions,
            compiled_bytes: compiled,
        })
    }

    /// How much work it is, at most, to find out whether a key matches: bytes of the key by bytes of compiled patterns. A million is
    /// less than a millisecond.
    pub(super) const fn cost(&self, key: &str) -> usize {
        LOOK + key.len() * self.compiled_bytes
    }

    pub(super) fn may_access(&self, key: &str) -> bool {
        let access = self.access.as_ref();
        access.is_none_or(|pattern| pattern.matches(key))
    }

    /// What every key that may be accessed begins with.
    pub(super) fn access_prefix(&self) -> &str {
        self.access.as_ref().map_or("", Pattern::prefix)
    }

    /// Whether there may be anything to tell.
    pub(super) const fn subscribes(&self) -> bool {
        !self.subscriptions.is_empty()
    }

    pub(super) fn is_told_of(&self, key: &str) -> bool {
        self.subscriptions
            .iter()
            .any(|pattern| pattern.matches(key))
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
