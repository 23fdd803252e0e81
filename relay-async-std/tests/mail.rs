//! The handles of client and relay on async-std; everything behind them is judged with the driver.

mod binding;

use binding::AsyncStd;
use relay_async_std::{
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
    let mx = MailServer::<AsyncStd>::start();
    let keys = |presented: Presented| decide(&presented);
    let relay = Relay::start(relay_config(mx.address()), keys, Config::default());
    let (listener, address) = listener();
    relay.listen(binding::listening(listener), Some(tls));
    let mut trusting = Config::default();
    trusting.extra_roots = authority.roots();
    let config = client_config(&format!("wss://localhost:{}/", address.port()));
    let client = Client::start(config, trusting);
    async_std::task::block_on(async {
        let receipt = client.send(message(&["bob@example.net"], "hello")).await;
        assert_eq!(receipt.unwrap().reply.to_string(), "250 2.0.0 taken");
        assert_eq!(mx.delivered(), b"Subject: x\r\n\r\nhello\r\n");
        assert_eq!(client.shutdown(Duration::from_secs(10)).await, []);
        relay.drain(Duration::from_secs(10)).await;
    });
}
