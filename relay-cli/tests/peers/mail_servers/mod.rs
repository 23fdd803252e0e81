//! `relay serve` before the mail servers people have, as they come and as sloppy as they can be made: each in each configuration is
//! put to every question.
//!
//! Postfix, Exim and OpenSMTPD run in root directories of their own, which takes root.

mod content;
mod conversation;
mod flavours;
mod server;
mod smuggling;
mod tap;
mod trouble;

/// Puts these flavours to every question.
macro_rules! matrix {
    ($($server:ident: $flavour:ident,)*) => {$(
        mod $server {
            use super::{content, flavours::$flavour as SERVER, smuggling, trouble};

            #[test]
            fn content_arrives_byte_for_byte_by_the_best_way_the_server_offers() {
                content::arrives_byte_for_byte(&SERVER);
            }

            #[test]
            fn ten_mebibytes_arrive_byte_for_byte() {
                content::ten_mebibytes(&SERVER);
            }

            #[test]
            fn the_server_refuses_one_recipient_and_the_others_get_the_message() {
                content::one_recipient_is_refused(&SERVER);
            }

            #[test]
            fn long_lines_arrive_whole_or_are_refused() {
                content::long_lines(&SERVER);
            }

            #[test]
            fn what_the_server_does_not_offer_to_take_is_refused_by_name() {
                content::beyond_ascii(&SERVER);
            }

            #[test]
            fn asked_directly_the_server_is_as_lenient_as_it_is_said_to_be() {
                smuggling::asked_directly(&SERVER);
            }

            #[test]
            fn one_message_behind_each_malformed_end_is_one_message_at_the_server() {
                smuggling::through_a_relay(&SERVER);
            }

            #[test]
            fn no_command_is_injected_into_the_session_with_the_server() {
                smuggling::injection(&SERVER);
            }

            #[test]
            fn a_server_that_wants_it_later_gets_it_later_and_once() {
                trouble::greylisting(&SERVER);
            }

            #[test]
            fn a_server_killed_in_the_middle_of_a_message_has_it_once_in_the_end() {
                trouble::killed_in_the_middle(&SERVER);
            }

            #[test]
            fn a_server_killed_before_it_has_the_end_leaves_a_doubt() {
                trouble::killed_before_the_end(&SERVER);
            }

            #[test]
            fn a_server_killed_before_it_can_reply_leaves_a_doubt() {
                trouble::killed_before_the_reply(&SERVER);
            }

            #[test]
            fn a_server_that_comes_and_goes_has_what_was_accepted_once() {
                trouble::comes_and_goes(&SERVER);
            }
        }
    )*};
}

matrix! {
    aiosmtpd: AIOSMTPD,
    aiosmtpd_lenient: AIOSMTPD_LENIENT,
    postfix_strict: POSTFIX_STRICT,
    postfix_lenient: POSTFIX_LENIENT,
    postfix_chunking: POSTFIX_CHUNKING,
    exim_plain: EXIM_PLAIN,
    exim_pipelining: EXIM_PIPELINING,
    exim_chunking: EXIM_CHUNKING,
    opensmtpd: OPENSMTPD,
}
