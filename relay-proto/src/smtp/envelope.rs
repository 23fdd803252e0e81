//! The envelope of a message: where it comes from and where it goes.

use super::{Address, ForwardPath, ReversePath};
use alloc::vec::Vec;

/// Where a message comes from and where it goes (RFC 5321, section 2.3.1). It has at least one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    reverse_path: ReversePath,
    forward_paths: Vec<ForwardPath>,
}

impl Envelope {
    /// An envelope from `reverse_path` to every one of `forward_paths`, in this order.
    ///
    /// # Errors
    ///
    /// Where there is no recipient.
    pub fn new<R: Into<ForwardPath>>(
        reverse_path: impl Into<ReversePath>,
        forward_paths: impl IntoIterator<Item = R>,
    ) -> Result<Self, EnvelopeError> {
        let forward_paths: Vec<_> = forward_paths.into_iter().map(Into::into).collect();
        if forward_paths.is_empty() {
            return Err(EnvelopeError::NoRecipient);
        }
        Ok(Self {
            reverse_path: reverse_path.into(),
            forward_paths,
        })
    }

    /// The sender.
    pub const fn reverse_path(&self) -> &ReversePath {
        &self.reverse_path
    }

    /// The recipients, one at least.
    pub fn forward_paths(&self) -> &[ForwardPath] {
        &self.forward_paths
    }

    /// Whether some address needs a server with SMTPUTF8 (RFC 6531).
    pub fn needs_smtputf8(&self) -> bool {
        let recipients = self.forward_paths.iter().map(ForwardPath::address);
        let mut addresses = recipients.chain([self.reverse_path.address()]).flatten();
        !addresses.all(Address::is_ascii)
    }
}

/// Why there is no such envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// A message goes to somebody.
    #[error("the message has no recipient; name at least one")]
    NoRecipient,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn an_envelope_has_a_recipient() {
        let nobody: [Address; 0] = [];
        assert_eq!(
            Envelope::new(address("a@b.c"), nobody),
            Err(EnvelopeError::NoRecipient)
        );
        let envelope = Envelope::new(ReversePath::Null, [ForwardPath::Postmaster]).unwrap();
        assert_eq!(envelope.reverse_path(), &ReversePath::Null);
        assert_eq!(envelope.forward_paths(), [ForwardPath::Postmaster]);
    }

    #[test]
    fn one_international_address_needs_smtputf8() {
        let (plain, international) = (address("a@b.c"), address("jos\u{e9}@b.c"));
        let needs = |from: &Address, to: &Address| {
            Envelope::new(from.clone(), [plain.clone(), to.clone()])
                .unwrap()
                .needs_smtputf8()
        };
        assert!(!needs(&plain, &plain));
        assert!(needs(&international, &plain));
        assert!(needs(&plain, &international));
    }
}
