//! Service extensions a server offers (RFC 5321 section 4.1.1.1).

use alloc::{collections::BTreeSet, format, string::String};

use super::{
    Mechanism,
    reply::{Code, Reply},
};

/// The SIZE a server declares (RFC 1870 section 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// The server knows the extension and names no fixed limit.
    Unlimited,
    /// The server takes messages of up to so many bytes.
    Limit(u64),
}

/// What a server offers in its reply to EHLO; nothing if it only knows HELO. The default offers nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// SIZE (RFC 1870), `None` where it is not offered.
    pub size: Option<Size>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// AUTH (RFC 4954): the mechanisms that are known here; none where it is not offered.
    pub auth: BTreeSet<Mechanism>,
}

impl Capabilities {
    /// What a positive reply to EHLO offers. The first line is the server's name; unknown extensions are passed over, keywords
    /// are known in any case. A SIZE that is no number of 64 bits is taken as [`Size::Unlimited`]: the server says for itself
    /// what is too large.
    pub fn from_reply(reply: &Reply) -> Self {
        let mut capabilities = Self::default();
        for line in reply.lines().iter().skip(1) {
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            let keyword = words.next().unwrap_or_default();
            match keyword.to_ascii_uppercase().as_str() {
                "PIPELINING" => capabilities.pipelining = true,
                "CHUNKING" => capabilities.chunking = true,
                "SIZE" => capabilities.size = Some(parse_size(words.next())),
                "8BITMIME" => capabilities.eight_bit_mime = true,
                "SMTPUTF8" => capabilities.smtputf8 = true,
                "ENHANCEDSTATUSCODES" => capabilities.enhanced_status_codes = true,
                "DSN" => capabilities.dsn = true,
                "STARTTLS" => capabilities.starttls = true,
                "AUTH" => capabilities
                    .auth
                    .extend(words.filter_map(Mechanism::from_name)),
                _ => {}
            }
        }
        capabilities
    }

    /// The reply to EHLO that offers this: 250, the server's greeting, then a line an extension.
    pub fn to_reply(&self, greeting: &str) -> Reply {
        let mut text = String::from(greeting);
        let mut offer = |offered: bool, line: &str| {
            if offered {
                text.push('\n');
                text.push_str(line);
            }
        };
        offer(self.pipelining, "PIPELINING");
        match self.size {
            None => {}
            Some(Size::Unlimited) => offer(true, "SIZE"),
            Some(Size::Limit(limit)) => offer(true, &format!("SIZE {limit}")),
        }
        offer(self.eight_bit_mime, "8BITMIME");
        offer(self.smtputf8, "SMTPUTF8");
        offer(self.chunking, "CHUNKING");
        offer(self.enhanced_status_codes, "ENHANCEDSTATUSCODES");
        offer(self.dsn, "DSN");
        offer(self.starttls, "STARTTLS");
        if !self.auth.is_empty() {
            let names = self.auth.iter().map(|mechanism| mechanism.name());
            offer(
                true,
                &names.fold(String::from("AUTH"), |line, name| line + " " + name),
            );
        }
        Reply::new(Code::OK, None, text)
    }

    /// The largest message the server says it takes, in bytes.
    pub fn max_message_bytes(&self) -> Option<u64> {
        match self.size {
            Some(Size::Limit(limit)) => Some(limit),
            Some(Size::Unlimited) | None => None,
        }
    }
}

fn parse_size(parameter: Option<&str>) -> Size {
    let digits = parameter.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        None | Some(0) => Size::Unlimited,
        Some(limit) => Size::Limit(limit),
    }
}

#[cfg(test)]
#[path = "capabilities_tests.rs"]
mod tests;
