//! Which of a host's addresses to connect to, and when (RFC 8305).

use std::{net::SocketAddr, time::Duration};

/// How long an attempt has to itself before the next address is tried besides (RFC 8305, section 8).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// A resolver's addresses in the order to try them: as they are, but the families take turns (RFC 8305, section 4), so
/// that where one of them leads nowhere the second attempt already avoids it.
///
/// ```
/// use relay_transport::happy_eyeballs::interleave;
///
/// let address = |text: &str| text.parse().unwrap();
/// let found = vec![address("[2001:db8::1]:443"), address("[2001:db8::2]:443"), address("192.0.2.1:443")];
/// let order = [address("[2001:db8::1]:443"), address("192.0.2.1:443"), address("[2001:db8::2]:443")];
/// assert_eq!(interleave(found), order);
/// ```
pub fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else {
        return addresses;
    };
    let first_family = first.is_ipv6();
    let count = addresses.len();
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_family);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = Vec::with_capacity(count);
    while order.len() < count {
        order.extend(first.next());
        order.extend(second.next());
    }
    order
}
