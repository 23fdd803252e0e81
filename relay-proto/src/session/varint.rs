//! Unsigned numbers in LEB128: seven bits a byte, the lowest first, the top bit set on every byte but the last.

use bytes::BufMut;

/// The most bytes a number takes.
pub(super) const LONGEST: usize = 10;

/// Why bytes are no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    EndsEarly,
    /// The same number has a shorter form. Only the shortest is allowed, so that a frame has one form.
    Overlong,
    /// More than 64 bits.
    TooLarge,
}

/// Writes `value` in its shortest form.
pub(super) fn encode(mut value: u64, output: &mut impl BufMut) {
    while value >= 0x80 {
        output.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    output.put_u8(value as u8);
}

/// How many bytes [`encode`] writes.
pub(super) const fn length(value: u64) -> usize {
    let bits = (u64::BITS - (value | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

/// Reads the number `bytes` begin with; how many of them it took.
#[inline]
pub(super) fn decode(bytes: &[u8]) -> Result<(u64, usize), Fault> {
    match bytes {
        // Channels, and acknowledgements and numbers of short sessions.
        [byte, ..] if *byte < 0x80 => Ok((u64::from(*byte), 1)),
        _ => decode_long(bytes),
    }
}

fn decode_long(bytes: &[u8]) -> Result<(u64, usize), Fault> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(LONGEST).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == LONGEST - 1 && bits > 1 {
            return Err(Fault::TooLarge);
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return if byte == 0 && index > 0 {
                Err(Fault::Overlong)
            } else {
                Ok((value, index + 1))
            };
        }
    }
    Err(if bytes.len() < LONGEST {
        Fault::EndsEarly
    } else {
        Fault::TooLarge
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn numbers_have_their_textbook_form() {
        let cases: [(u64, &[u8]); 7] = [
            (0, &[0]),
            (1, &[1]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (624_485, &[0xe5, 0x8e, 0x26]),
            (
                u64::MAX,
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            ),
        ];
        for (value, bytes) in cases {
            let mut written = Vec::new();
            encode(value, &mut written);
            assert_eq!(written, bytes);
            assert_eq!(decode(bytes), Ok((value, bytes.len())));
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let cases: [(&[u8], Fault); 7] = [
            (&[], Fault::EndsEarly),
            (&[0x80], Fault::EndsEarly),
            (&[0xff; 9], Fault::EndsEarly),
            (&[0x80, 0], Fault::Overlong),
            (&[0xff, 0x80, 0], Fault::Overlong),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
                Fault::TooLarge,
            ),
            (
                &[
                    0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1,
                ],
                Fault::TooLarge,
            ),
        ];
        for (bytes, fault) in cases {
            assert_eq!(decode(bytes), Err(fault), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding_and_the_length_is_told(bits in 0_u32..64, noise: u64, behind: Vec<u8>) {
            let value = noise >> bits;
            let mut bytes = Vec::new();
            encode(value, &mut bytes);
            prop_assert_eq!(bytes.len(), length(value));
            for cut in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..cut]), Err(Fault::EndsEarly));
            }
            bytes.extend(behind);
            prop_assert_eq!(decode(&bytes), Ok((value, length(value))));
        }

        #[test]
        fn what_is_read_is_written_the_same(bytes: [u8; 12]) {
            if let Ok((value, length)) = decode(&bytes) {
                let mut written = Vec::new();
                encode(value, &mut written);
                prop_assert_eq!(&written, &bytes[..length]);
            }
        }
    }
}
