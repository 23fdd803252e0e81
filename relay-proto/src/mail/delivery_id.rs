//! The names of deliveries.

use crate::{Random, hex};
use core::{fmt, str::FromStr};

/// Names one message on its way, across links, sessions and restarts: 128 random bits, in text 32 lower-case
/// hexadecimal digits. The client that makes it answers for its being unique among its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(u128);

impl DeliveryId {
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

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeliveryId({self})")
    }
}

/// Text that names no delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a delivery is named by 32 lower-case hexadecimal digits")]
#[expect(clippy::exhaustive_structs, reason = "there is no more to say")]
pub struct DeliveryIdError;

impl FromStr for DeliveryId {
    type Err = DeliveryIdError;

    fn from_str(text: &str) -> Result<Self, DeliveryIdError> {
        hex::bits(text).map(Self).ok_or(DeliveryIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn ids_are_written_and_read_in_one_form() {
        let id = DeliveryId::from_bits(0xab);
        assert_eq!(id.to_string(), "000000000000000000000000000000ab");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [
            "",
            "ab",
            "000000000000000000000000000000AB",
            "+00000000000000000000000000000ab",
            "0000000000000000000000000000000ab",
        ] {
            assert_eq!(text.parse::<DeliveryId>(), Err(DeliveryIdError), "{text}");
        }
    }

    #[test]
    fn random_ids_use_all_bits_and_the_sequence_is_fixed() {
        let mut random = Random::new([7; 32]);
        let first = DeliveryId::random(&mut random).to_bits();
        assert_eq!(first >> 64, 4_115_934_089_738_703_076);
        let (mut ones, mut zeros) = (first, !first);
        for _ in 0..64 {
            let bits = DeliveryId::random(&mut random).to_bits();
            ones |= bits;
            zeros |= !bits;
        }
        assert_eq!((ones, zeros), (u128::MAX, u128::MAX));
    }
}
