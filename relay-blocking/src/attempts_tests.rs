use super::*;
use mio::{Events, Token};
use relay_testkit::{deserted, listener};

/// Runs attempts to their end, waiting for sockets and clock as the network does.
fn run(addresses: Vec<SocketAddr>) -> Result<SocketAddr, Vec<SocketAddr>> {
    let mut poll = mio::Poll::new().unwrap();
    let mut events = Events::with_capacity(8);
    let mut attempts = Attempts::new(addresses);
    loop {
        let registry = poll.registry();
        let token = Token(1);
        match attempts.proceed(&Registration { registry, token }) {
            Poll::Ready(Ok(tcp)) => return Ok(tcp.peer_addr().unwrap()),
            Poll::Ready(Err(failed)) => {
                return Err(failed.into_iter().map(|(address, _)| address).collect());
            }
            Poll::Pending => {}
        }
        let until = attempts.wake_at();
        let timeout = until.map(|until| until.saturating_duration_since(Instant::now()));
        poll.poll(&mut events, timeout).unwrap();
    }
}

#[test]
fn addresses_that_refuse_are_passed_over() {
    let (_listener, address) = listener();
    assert_eq!(run(vec![deserted(), deserted(), address]), Ok(address));
    assert_eq!(run(vec![address, deserted()]), Ok(address));
}

#[test]
fn all_that_failed_are_told() {
    let (one, two) = (deserted(), deserted());
    assert_eq!(run(vec![one, two]), Err(vec![one, two]));
    assert_eq!(run(vec![]), Err(vec![]));
}

/// A listener whose queue is full lets further connections hang, on Linux at least.
#[cfg(target_os = "linux")]
#[test]
fn an_address_that_does_not_answer_holds_up_nobody() {
    use socket2::{Domain, Socket, Type};
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    full.bind(&any.into()).unwrap();
    full.listen(0).unwrap();
    let silent = full.local_addr().unwrap().as_socket().unwrap();
    let queue: Vec<_> = (0..4)
        .map(|_| TcpStream::connect(silent).unwrap())
        .collect();
    let (_listener, address) = listener();
    assert_eq!(run(vec![silent, address]), Ok(address));
    drop(queue);
}
