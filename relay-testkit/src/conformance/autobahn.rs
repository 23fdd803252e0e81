//! The other end of the Autobahn WebSocket suite, with the binding that is judged below it. `.ci/autobahn` runs the two
//! against each other.

use super::rig::Rig;
use crate::{Binding, Probe};
use relay_proto::{Endpoint, Frame, LinkId};
use relay_transport::Config;
use std::{
    io::{self, Read},
    str,
};

/// The suite's largest message, in bytes.
const LARGEST: usize = 16 << 20;

/// What the suite needs somebody for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// To send back what it gets, until standard input ends; where, is written to standard output.
    Serve,
    /// To dial this URL for every case the suite has, and to send back what it gets, under this name.
    Dial { url: String, agent: String },
}

impl Part {
    /// The part these arguments ask for, if any; the others are those of every Rust test.
    pub(super) fn read(arguments: impl Iterator<Item = String>) -> Option<Self> {
        let arguments: Vec<_> = arguments.collect();
        match &arguments[..] {
            [order] if order == "--autobahn-serve" => Some(Self::Serve),
            [order, url, agent] if order == "--autobahn-dial" => Some(Self::Dial {
                url: url.clone(),
                agent: agent.clone(),
            }),
            _ => None,
        }
    }

    pub(super) fn play<B: Binding>(self) {
        match self {
            Self::Serve => serve::<B>(),
            Self::Dial { url, agent } => dial::<B>(&url, &agent),
        }
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.max_frame_bytes = LARGEST;
    config
}

fn serve<B: Binding>() {
    let mut probe = Probe::limited(LARGEST);
    probe.echoes = true;
    probe.tells_frames = false;
    let (rig, address) = Rig::<B>::server(probe, config());
    println!("ws://{address}");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    rig.finish();
}

fn dial<B: Binding>(url: &str, agent: &str) {
    let rig = Rig::<B>::new(Probe::limited(LARGEST), config());
    let open = |resource: String| -> LinkId {
        let url = format!("{url}/{resource}");
        let url = url.parse().unwrap_or_else(|error| panic!("{error}"));
        rig.opened(Endpoint::WebSocket(url))
    };

    let link = open("getCaseCount".to_owned());
    let (_, answer) = rig.frame();
    rig.closed(link);
    rig.tell(|probe, _| probe.echoes = true);
    for case in 1..=count(&answer) {
        let link = open(format!("runCase?case={case}&agent={agent}"));
        rig.closed(link);
    }
    let link = open(format!("updateReports?agent={agent}"));
    rig.closed(link);
    rig.finish();
}

fn count(answer: &Frame) -> u32 {
    let Frame::Text(text) = answer else {
        panic!("not the number of cases: {answer:?}");
    };
    str::from_utf8(text).unwrap().parse().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Option<Part> {
        Part::read(arguments.iter().map(|&argument| argument.to_owned()))
    }

    #[test]
    fn only_whole_orders_of_the_suite_are_taken_from_the_scenarios() {
        assert_eq!(read(&["--autobahn-serve"]), Some(Part::Serve));
        let (url, agent) = ("ws://127.0.0.1:9001".to_owned(), "x".to_owned());
        let dial = Part::Dial { url, agent };
        assert_eq!(
            read(&["--autobahn-dial", "ws://127.0.0.1:9001", "x"]),
            Some(dial)
        );
        for other in [&[][..], &["--exact", "x"], &["--autobahn-dial", "x"]] {
            assert_eq!(read(other), None);
        }
    }
}
