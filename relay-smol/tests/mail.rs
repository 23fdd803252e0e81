//! The handles of client and relay on smol; everything behind them is judged with the driver.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod binding;

use binding::Smol;
use relay_smol::{
    Config,
    mail::{Client, Presented, Relay},
};
use relay_testkit::{
    Authority, listener,
    mail::{MailServer, client_config, decide, message, relay_config},
};
use std::time::Duration;

#[test]
fn a_message_goes_the_whole_way_over_tls() {
    let authority = Authority::new("test");
    let tls = authority.identity("localhost").server();
    let mx = MailServer::<Smol>::start();
    let keys = |presented: Presented| decide(&presented);
    let relay = Relay::start(relay_config(mx.address()), keys, Config::default());
    let (listener, address) = listener();
    relay.listen(binding::listening(listener), Some(tls));
    let mut trusting = Config::default();
    trusting.extra_roots = authority.roots();
    let config = client_config(&format!("wss://localhost:{}/", address.port()));
    let client = Client::start(config, trusting);
    smol::block_on(async {
        let receipt = client.send(message(&["bob@example.net"], "hello")).await;
        assert_eq!(receipt.unwrap().reply.to_string(), "250 2.0.0 taken");
        assert_eq!(mx.delivered(), b"Subject: x\r\n\r\nhello\r\n");
        assert_eq!(client.shutdown(Duration::from_secs(10)).await, []);
        relay.drain(Duration::from_secs(10)).await;
    });
}
