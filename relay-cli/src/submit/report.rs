//! Reports of recipients that were refused while others were accepted (RFC 3462, RFC 3464; RFC 6533 for addresses beyond ASCII).

use mail_builder::{
    MessageBuilder,
    headers::{content_type::ContentType, raw::Raw},
    mime::{BodyPart, MimePart},
};
use relay_proto::{
    mail::client::Submission,
    smtp::{Address, Envelope, ForwardPath, HostName, Reply, ReversePath},
};
use std::fmt::Write;

/// The most of the message's header that goes into its report, in bytes.
const MAX_HEADER: usize = 32 * 1024;

/// A report to the sender of a message, from nobody, as nobody is to be told if it is refused in turn.
pub(crate) fn report(
    host_name: &HostName,
    sender: &Address,
    rejected: &[(ForwardPath, Reply)],
    content: &[u8],
) -> Submission {
    let envelope =
        Envelope::new(ReversePath::Null, [sender.clone()]).expect("there is a recipient");
    let text = compose(host_name, sender, rejected, content);
    Submission::message(envelope, text.into())
}

fn compose(
    host_name: &HostName,
    sender: &Address,
    rejected: &[(ForwardPath, Reply)],
    content: &[u8],
) -> Vec<u8> {
    let mut words = String::from(
        "Your message was accepted for some of its recipients. These did not get it:\r\n",
    );
    let mut status = format!("Reporting-MTA: dns; {host_name}\r\n");
    let mut international = false;
    for (recipient, reply) in rejected {
        let said = in_ascii(&reply.to_string());
        let address = match recipient.address() {
            Some(address) => address.to_string(),
            None => "postmaster".to_owned(),
        };
        let kind = if address.is_ascii() {
            "rfc822"
        } else {
            international = true;
            "utf-8"
        };
        let code = reply.enhanced().map_or_else(
            || format!("{}.0.0", reply.code().class()),
            |enhanced| enhanced.to_string(),
        );
        // Writing to a string cannot fail.
        let _ = write!(words, "\r\n{recipient}: {reply}\r\n");
        let _ = write!(
            status,
            "\r\nFinal-Recipient: {kind}; {address}\r\nAction: failed\r\nStatus: {code}\r\nDiagnostic-Code: smtp; {said}\r\n"
        );
    }
    let (status_type, encoding) = if international {
        ("message/global-delivery-status", "8bit")
    } else {
        ("message/delivery-status", "7bit")
    };
    let parts = vec![
        MimePart::new("text/plain", words),
        MimePart::new(status_type, BodyPart::Binary(status.into_bytes().into()))
            .transfer_encoding(encoding),
        MimePart::new("text/rfc822-headers", header_of(content)),
    ];
    let report = ContentType::new("multipart/report").attribute("report-type", "delivery-status");
    MessageBuilder::new()
        .from((
            "Mail Delivery System",
            &*format!("MAILER-DAEMON@{host_name}"),
        ))
        .to(sender.to_string())
        .subject("Not delivered to all recipients")
        .header("Auto-Submitted", Raw::new("auto-replied"))
        .body(MimePart::new(report, BodyPart::Multipart(parts)))
        .write_to_vec()
        .expect("writing to memory does not fail")
}

/// The header of a message, or as much of it as a report has room for.
fn header_of(content: &[u8]) -> String {
    let content = &content[..content.len().min(MAX_HEADER)];
    let text = String::from_utf8_lossy(content);
    // Line ends of both kinds may be in one message.
    let header = text.split_inclusive('\n');
    header
        .take_while(|line| !line.trim_end().is_empty())
        .collect()
}

/// A status field knows ASCII only, and takes no line end.
fn in_ascii(text: &str) -> String {
    let shown = |character: char| {
        if character.is_ascii_graphic() || character == ' ' {
            character
        } else {
            '?'
        }
    };
    // Longer lines than 998 bytes are not mail (RFC 5322, section 2.1.1).
    text.chars().map(shown).take(900).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::{MessageParser, MimeHeaders};
    use relay_proto::smtp::reply;

    fn refused(address: &str, text: &str) -> (ForwardPath, Reply) {
        let path = ForwardPath::Mailbox(address.parse().unwrap());
        (path, reply(550, "5.1.1", text))
    }

    #[test]
    fn a_report_names_every_recipient_and_shows_the_header_alone() {
        let host_name = "bridge.example".parse().unwrap();
        let sender = "alice@example.org".parse().unwrap();
        let rejected = [
            refused("carol@example.net", "No such\nuser"),
            refused("dave@example.net", "d\u{e9}j\u{e0}"),
        ];
        let content = b"Subject: x\r\nMessage-ID: <1@example.org>\n\r\nsecret";
        let text = compose(&host_name, &sender, &rejected, content);
        let report = MessageParser::default().parse(&text).unwrap();
        assert_eq!(report.content_type().unwrap().ctype(), "multipart");
        let kind = report.content_type().unwrap().attribute("report-type");
        assert_eq!(kind, Some("delivery-status"));
        let from = report.from().unwrap().first().unwrap();
        assert_eq!(from.address(), Some("MAILER-DAEMON@bridge.example"));
        assert!(report.date().is_some());

        let text = String::from_utf8(text).unwrap();
        assert!(text.is_ascii());
        for part in [
            "Reporting-MTA: dns; bridge.example\r\n",
            "\r\nFinal-Recipient: rfc822; carol@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 No such user\r\n",
            "Diagnostic-Code: smtp; 550 5.1.1 d?j?\r\n",
            "\r\nMessage-ID: <1@example.org>",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(!text.contains("secret"));
    }

    #[test]
    fn an_address_beyond_ascii_makes_a_global_report() {
        let host_name = "bridge.example".parse().unwrap();
        let sender = "alice@example.org".parse().unwrap();
        let rejected = [refused("\u{3b4}@example.net", "No such user")];
        let text = compose(&host_name, &sender, &rejected, b"");
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("message/global-delivery-status"));
        assert!(text.contains("Final-Recipient: utf-8; \u{3b4}@example.net\r\n"));
    }
}
