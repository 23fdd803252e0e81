//! The names of clients and stores.

use crate::{Random, hex};
use core::{fmt, str::FromStr};

/// Text that names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has to be 32 lower-case hexadecimal digits")]
#[expect(clippy::exhaustive_structs, reason = "there is no more to say")]
pub struct IdError;

macro_rules! id {
    ($(#[$documentation:meta])* $name:ident) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// The id of these bits.
            pub const fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// Its bits.
            pub const fn to_bits(self) -> u128 {
                self.0
            }

            /// A new one.
            pub fn random(random: &mut Random) -> Self {
                Self(random.next_u128())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                hex::bits(text).map(Self).ok_or(IdError)
            }
        }
    };
}

id! {
    /// Names one client object for as long as it lives, across links and sessions: 128 random bits, in text 32 lower-case
    /// hexadecimal digits. Its calls are numbered under this name.
    ///
    /// It is worth something only together with the key it is used with, so it may stand in logs.
    ClientId
}

id! {
    /// Names a store and the sequence numbers of its changes: 128 random bits, in text 32 lower-case hexadecimal digits. A store
    /// that has lost its records has another name.
    StoreId
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::ToString};

    #[test]
    fn ids_are_written_and_read_in_one_form() {
        let id = ClientId::from_bits(0xab);
        assert_eq!(id.to_string(), "000000000000000000000000000000ab");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(
            format!("{:?}", StoreId::from_bits(1)),
            "StoreId(00000000000000000000000000000001)"
        );
        for text in ["", "ab", "000000000000000000000000000000AB"] {
            assert_eq!(text.parse::<StoreId>(), Err(IdError), "{text}");
        }
    }
}
