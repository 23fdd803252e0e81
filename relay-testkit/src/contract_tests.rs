use super::*;
use relay_proto::{CloseCode, Endpoint, StreamAddress};

const OUT: LinkId = LinkId::dialled(0);
const IN: LinkId = LinkId::accepted(0);

/// What a driver and a machine do, step by step.
#[derive(Default)]
struct Play(Contract);

impl Play {
    fn open(mut self, link: LinkId) -> Self {
        let endpoint = Endpoint::Stream(StreamAddress::new("mx.example", 25, false));
        self.0.action(&Action::Open { link, endpoint });
        self
    }

    fn send(mut self, link: LinkId) -> Self {
        let frame = Frame::Text("x".into());
        self.0.action(&Action::Send { link, frame });
        self
    }

    fn close(mut self, link: LinkId) -> Self {
        let (code, reason) = (CloseCode::NORMAL, String::new());
        self.0.action(&Action::Close { link, code, reason });
        self
    }

    fn told(mut self, input: Input) -> Self {
        self.0.input(&input);
        self
    }

    fn accepted(self, link: LinkId) -> Self {
        self.told(Input::Accepted { link, peer: None })
    }

    fn opened(self, link: LinkId) -> Self {
        self.told(Input::Opened { link })
    }

    fn failed(self, link: LinkId, why: OpenError) -> Self {
        self.told(Input::OpenFailed { link, why })
    }

    fn written(self, link: LinkId) -> Self {
        self.told(Input::Written { link })
    }

    fn frame(self, link: LinkId, length: usize) -> Self {
        let frame = Frame::Binary(vec![0; length].into());
        self.told(Input::Frame { link, frame })
    }

    fn ping(self, link: LinkId) -> Self {
        let frame = Frame::Ping("12345678".into());
        self.told(Input::Frame { link, frame })
    }

    fn closed(self, link: LinkId, why: Closure) -> Self {
        self.told(Input::Closed { link, why })
    }

    fn store(mut self, index: u64) -> Self {
        let (batch, writes) = (BatchId::new(index), Vec::new());
        self.0.action(&Action::Store { batch, writes });
        self
    }

    fn stored(self, index: u64) -> Self {
        let (batch, result) = (BatchId::new(index), Ok(()));
        self.told(Input::Stored { batch, result })
    }

    fn start_tls(mut self, link: LinkId) -> Self {
        self.0.action(&Action::StartTls { link });
        self
    }

    fn secured(self, link: LinkId) -> Self {
        self.told(Input::Secured { link })
    }

    fn limit(mut self, link: LinkId, limit: usize) -> Self {
        self.0.limited(link, limit);
        self
    }

    fn tick(mut self, nanoseconds: u64) -> Self {
        self.0.tick(Time::from_nanos(nanoseconds));
        self
    }

    fn handed_out(mut self, due: u64) -> Self {
        self.0.handed_out(deadline(due));
        self
    }

    fn served(mut self, due: u64) -> Self {
        self.0.served(deadline(due));
        self
    }

    #[track_caller]
    fn keeps_the_contract(self) {
        assert_eq!(self.0.violations(), [""; 0]);
    }

    #[track_caller]
    fn breaks_it(self, expected: &str) {
        match self.0.violations() {
            [found] => assert!(found.contains(expected), "{found}"),
            other => panic!("not one violation: {other:?}"),
        }
    }
}

fn deadline(at: u64) -> Option<Deadline> {
    let (at, timer) = (Time::from_nanos(at), "retry");
    Some(Deadline { at, timer })
}

fn lost() -> Closure {
    let detail = "cut".to_owned();
    Closure::Lost { detail }
}

fn unreachable() -> OpenError {
    let (endpoint, detail) = ("mx.example:25".to_owned(), "no route".to_owned());
    OpenError::Unreachable { endpoint, detail }
}

fn a_link() -> Play {
    Play::default().open(OUT).opened(OUT).limit(OUT, 10)
}

#[test]
fn lives_in_good_order_keep_the_contract() {
    a_link()
        .send(OUT)
        .frame(OUT, 10)
        .ping(OUT)
        .written(OUT)
        .closed(OUT, lost())
        .keeps_the_contract();
    a_link()
        .send(OUT)
        .close(OUT)
        .frame(OUT, 1)
        .written(OUT)
        .closed(OUT, Closure::Local)
        .keeps_the_contract();
    // What was sent on a link that ends may be left unwritten.
    a_link()
        .send(OUT)
        .closed(OUT, lost())
        .send(OUT)
        .close(OUT)
        .keeps_the_contract();
    let opening = || Play::default().open(OUT);
    opening().failed(OUT, unreachable()).keeps_the_contract();
    let given_up = || opening().close(OUT);
    given_up()
        .failed(OUT, OpenError::Abandoned)
        .keeps_the_contract();
    // It may have been open already.
    given_up()
        .opened(OUT)
        .closed(OUT, Closure::Local)
        .keeps_the_contract();
    Play::default()
        .accepted(IN)
        .send(IN)
        .written(IN)
        .closed(IN, lost())
        .keeps_the_contract();
}

#[test]
fn an_open_has_one_answer() {
    a_link().opened(OUT).breaks_it("Opened");
    a_link().failed(OUT, unreachable()).breaks_it("OpenFailed");
    Play::default()
        .open(OUT)
        .failed(OUT, unreachable())
        .opened(OUT)
        .breaks_it("Opened");
    Play::default().opened(OUT).breaks_it("never was");
    Play::default()
        .open(OUT)
        .failed(OUT, OpenError::Abandoned)
        .breaks_it("did not ask");
}

#[test]
fn a_send_has_one_answer() {
    a_link().written(OUT).breaks_it("Written without a Send");
    a_link()
        .send(OUT)
        .written(OUT)
        .written(OUT)
        .breaks_it("Written without a Send");
    // What is sent behind a close goes nowhere.
    a_link()
        .close(OUT)
        .send(OUT)
        .written(OUT)
        .breaks_it("Written without a Send");
}

#[test]
fn nothing_passes_between_asking_for_tls_and_having_it() {
    let asked = || a_link().limit(OUT, 0).send(OUT).start_tls(OUT);
    asked()
        .written(OUT)
        .secured(OUT)
        .limit(OUT, 10)
        .send(OUT)
        .frame(OUT, 1)
        .keeps_the_contract();
    asked()
        .closed(OUT, lost())
        .start_tls(OUT)
        .keeps_the_contract();
    asked()
        .frame(OUT, 1)
        .breaks_it("although TLS is being started");
    asked()
        .limit(OUT, 10)
        .breaks_it("read although TLS is being started");
    asked()
        .send(OUT)
        .breaks_it("Send although TLS is being started");
    asked()
        .secured(OUT)
        .breaks_it("before what was sent in clear is written");
    asked().start_tls(OUT).breaks_it("StartTls out of place");
    a_link()
        .secured(OUT)
        .breaks_it("Secured without a StartTls");
    Play::default().start_tls(OUT).breaks_it("out of place");
}

#[test]
fn a_batch_has_one_answer_in_its_order() {
    let two = || Play::default().store(0).store(1);
    two().stored(0).stored(1).keeps_the_contract();
    two().stored(1).breaks_it("batch 1: Stored");
    two().stored(0).stored(0).breaks_it("batch 0: Stored");
    Play::default().stored(0).breaks_it("batch 0: Stored");
}

#[test]
fn nothing_follows_the_end_and_nothing_precedes_the_beginning() {
    let over = || a_link().send(OUT).closed(OUT, lost());
    over().closed(OUT, lost()).breaks_it("Closed");
    over().written(OUT).breaks_it("Written");
    over().frame(OUT, 1).breaks_it("Frame");
    over().opened(OUT).breaks_it("Opened");
    Play::default().open(OUT).frame(OUT, 1).breaks_it("Opening");
    Play::default().frame(IN, 1).breaks_it("never was");
    Play::default().closed(IN, lost()).breaks_it("never was");
    a_link()
        .closed(OUT, Closure::Local)
        .breaks_it("the machine did not ask");
}

#[test]
fn ids_are_used_once_and_by_those_they_belong_to() {
    let over = || a_link().closed(OUT, lost());
    over().open(OUT).breaks_it("used before");
    let gone = || Play::default().accepted(IN).closed(IN, lost());
    gone().accepted(IN).breaks_it("used before");
    Play::default().accepted(OUT).breaks_it("dialled");
    Play::default().open(IN).breaks_it("accepted");
}

#[test]
fn a_machine_sends_on_open_links_only() {
    Play::default().send(OUT).breaks_it("not open yet");
    Play::default()
        .open(OUT)
        .send(OUT)
        .breaks_it("not open yet");
    Play::default().close(OUT).breaks_it("never was");
}

#[test]
fn no_frame_is_above_the_limit_it_was_read_under() {
    a_link()
        .frame(OUT, 11)
        .breaks_it("although the limit is 10");
    // Nobody has asked the machine how much it reads.
    Play::default()
        .open(OUT)
        .opened(OUT)
        .frame(OUT, 1)
        .breaks_it("although the limit is 0");
    // Four large frames, or small ones together.
    for (bytes, most) in [(SMALL.0, READ_AHEAD), (10, 256)] {
        let paused = || a_link().limit(OUT, SMALL.0).frame(OUT, 10).limit(OUT, 0);
        let ahead = || (0..most).fold(paused(), |play, _| play.frame(OUT, bytes));
        ahead().keeps_the_contract();
        ahead()
            .frame(OUT, bytes)
            .breaks_it("although the limit is 0");
    }
    // Limits that come and go in between excuse nothing.
    let paused = a_link().frame(OUT, 10).limit(OUT, 0);
    let ahead = (0..256).fold(paused, |play, _| play.ping(OUT));
    ahead
        .limit(OUT, 5)
        .frame(OUT, 6)
        .breaks_it("although the limit is 5");
}

#[test]
fn time_goes_forward_and_timers_are_served_in_time() {
    Play::default()
        .tick(5)
        .handed_out(6)
        .tick(6)
        .served(7)
        .handed_out(7)
        .keeps_the_contract();
    Play::default().tick(5).tick(4).breaks_it("time ran back");
    Play::default()
        .tick(6)
        .handed_out(6)
        .breaks_it("\"retry\" was due");
    Play::default()
        .tick(6)
        .served(6)
        .breaks_it("due again at once");
}

#[test]
fn rest_is_when_everything_asked_for_is_done() {
    let is_at_rest = |play: Play| play.0.is_at_rest();
    assert!(is_at_rest(Play::default()));
    assert!(!is_at_rest(Play::default().open(OUT)));
    assert!(is_at_rest(a_link()));
    assert!(!is_at_rest(a_link().send(OUT)));
    assert!(is_at_rest(a_link().send(OUT).written(OUT)));
    assert!(!is_at_rest(a_link().start_tls(OUT)));
    assert!(is_at_rest(a_link().start_tls(OUT).secured(OUT)));
    assert!(!is_at_rest(Play::default().store(0)));
    assert!(is_at_rest(Play::default().store(0).stored(0)));
    assert!(!is_at_rest(a_link().close(OUT)));
    assert!(is_at_rest(a_link().send(OUT).closed(OUT, lost())));
}
