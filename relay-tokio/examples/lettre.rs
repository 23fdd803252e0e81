//! A program that sends with lettre, through a relay: a letter in plain text and HTML, with an image inside and a file
//! attached.
//!
//! ```console
//! $ cargo run -p relay-tokio --features lettre --example lettre -- ws://127.0.0.1:8025/ KEY alice@example.org bob@example.net
//! ```

use lettre::{
    AsyncTransport, Message,
    message::{Attachment, MultiPart, SinglePart, header::ContentType},
};
use relay_tokio::mail::lettre::RelayTransport;
use std::{env, error::Error};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, key, from, to] = &arguments[..] else {
        return Err("usage: lettre URL KEY FROM TO".into());
    };

    // The line that changes; it was `AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?.build()`.
    let mailer = RelayTransport::from_url(url, key)?;

    let receipt = mailer.send(letter(from, to)?).await?;
    println!("accepted: {}", receipt.reply);
    for (recipient, reply) in receipt.rejected {
        println!("refused {recipient}: {reply}");
    }
    mailer.shutdown().await;
    Ok(())
}

/// Everything lettre's builder is used for.
pub(crate) fn letter(from: &str, to: &str) -> Result<Message, Box<dyn Error>> {
    let text = "Dear Bob,\n\nthe numbers are attached.\n";
    let html = r#"<p>Dear Bob,</p><p><img src="cid:dot" alt="a dot"> the numbers are <b>attached</b>.</p>"#;
    let image = Attachment::new_inline("dot".to_owned());
    let numbers: Vec<u8> = (0..=u8::MAX).cycle().take(100_000).collect();
    let file = Attachment::new("numbers \u{2116} 1.bin".to_owned());
    let html_with_image = MultiPart::related()
        .singlepart(SinglePart::html(html.to_owned()))
        .singlepart(image.body(DOT.to_vec(), "image/gif".parse::<ContentType>()?));
    let letter = MultiPart::alternative()
        .singlepart(SinglePart::plain(text.to_owned()))
        .multipart(html_with_image);
    Ok(Message::builder()
        .from(from.parse()?)
        .to(to.parse()?)
        .subject("The numbers, as \u{201c}promised\u{201d}")
        // lettre adds none by itself, nor does the relay.
        .message_id(None)
        .multipart(
            MultiPart::mixed()
                .multipart(letter)
                .singlepart(file.body(numbers, "application/octet-stream".parse::<ContentType>()?)),
        )?)
}

/// The smallest image there is: one transparent pixel.
const DOT: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0\x21\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
