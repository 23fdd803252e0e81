//! What is measured, and whom by: the plan of a run.

use crate::{
    Outcome,
    case::{
        Case,
        Upstream::{Counting, SmtpSink},
    },
    host,
    letter::SMALLEST,
    lettre::{self, Nagle, Tunnel, has_websocat},
    others::{self, Daaki},
    ours::{self, Outbox},
    raw,
};
use relay_bench::{Better, Record};
use std::time::{Duration, Instant};

/// How a run is done.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Everything once, with as little as shows that it works.
    pub(crate) short: bool,
    pub(crate) repetitions: u32,
    /// Long lines are made by a proxy, even where the system can do better.
    pub(crate) proxy: bool,
    /// Only rows whose table, name or series have this in them.
    pub(crate) only: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            short: false,
            repetitions: 5,
            proxy: false,
            only: None,
        }
    }
}

const ROUND_TRIP: Duration = Duration::from_millis(50);

/// How long someone takes for the messages of a case.
type Measurement = dyn Fn(&Case) -> Outcome<Duration>;

/// One who is measured.
struct Contender {
    series: &'static str,
    measure: Box<Measurement>,
    /// How many messages, where the row's number would take it too long or be too few to measure.
    messages: Option<usize>,
}

fn contender(
    series: &'static str,
    measure: impl Fn(&Case) -> Outcome<Duration> + 'static,
) -> Contender {
    Contender {
        series,
        measure: Box::new(measure),
        messages: None,
    }
}

impl Contender {
    fn with(self, messages: usize) -> Self {
        let messages = Some(messages);
        Self { messages, ..self }
    }
}

/// What a row says of the time that messages took.
#[derive(Clone, Copy)]
enum Measure {
    MessagesPerSecond,
    BytesPerSecond,
    RoundTrips,
}

impl Measure {
    fn of(self, case: &Case, took: Duration) -> (f64, &'static str, Better) {
        let (seconds, messages) = (took.as_secs_f64(), case.messages as f64);
        match self {
            Self::MessagesPerSecond => (messages / seconds, "messages/s", Better::Higher),
            Self::BytesPerSecond => {
                let bytes = messages * case.size as f64;
                (
                    bytes / seconds / f64::from(1 << 20),
                    "MiB/s",
                    Better::Higher,
                )
            }
            Self::RoundTrips => {
                let round_trip = case.round_trip.unwrap_or(ROUND_TRIP).as_secs_f64();
                (
                    seconds / messages / round_trip,
                    "round trips",
                    Better::Lower,
                )
            }
        }
    }
}

struct Row {
    table: &'static str,
    name: String,
    x: Option<f64>,
    measure: Measure,
    case: Case,
    contenders: Vec<Contender>,
}

// ---- who ----

const OURS: &str = "relay, tokio";

fn ours() -> Contender {
    contender(OURS, ours::tokio)
}

fn ours_blocking() -> Contender {
    contender("relay, blocking", ours::blocking)
}

fn lettre_blocking(nagle: Nagle) -> Contender {
    let series = match nagle {
        Nagle::AsPublished => "lettre 0.11.23, blocking",
        Nagle::Cured => "lettre with TCP_NODELAY, blocking",
    };
    contender(series, move |case| lettre::blocking(case, nagle))
}

fn lettre_tokio(nagle: Nagle) -> Contender {
    let series = match nagle {
        Nagle::AsPublished => "lettre 0.11.23, tokio",
        Nagle::Cured => "lettre with TCP_NODELAY, tokio",
    };
    contender(series, move |case| lettre::tokio(case, nagle))
}

fn tunnel() -> Contender {
    contender("lettre through a plain tunnel", |case| {
        lettre::tunnelled(case, Tunnel::Plain)
    })
}

fn websocat() -> Contender {
    contender("lettre through websocat", |case| {
        lettre::tunnelled(case, Tunnel::Websocat)
    })
}

fn nodemailer() -> Contender {
    contender("Nodemailer, pool", others::nodemailer)
}

fn smtp_source() -> Contender {
    contender("smtp-source", others::smtp_source)
}

fn daaki(with: Daaki) -> Contender {
    let series = match with {
        Daaki::Data => "daaki-smtp, DATA",
        Daaki::Bdat => "daaki-smtp, BDAT",
    };
    contender(series, move |case| others::daaki(case, with))
}

fn ceiling() -> Contender {
    contender("ceiling: one stream to the server", raw::pipelined)
}

// ---- what ----

const CASE: Case = Case {
    messages: 1,
    size: 1024,
    callers: 1,
    recipients: 1,
    round_trip: None,
    upstream: SmtpSink,
};

/// On a line of 50 ms, to a server that offers everything.
const FAR: Case = Case {
    round_trip: Some(ROUND_TRIP),
    upstream: Counting,
    ..CASE
};

fn round_trips() -> Vec<Row> {
    let row = |name: &str, case, contenders| Row {
        table: "Round trips a message",
        name: name.to_owned(),
        x: None,
        measure: Measure::RoundTrips,
        case,
        contenders,
    };
    let sequential = |recipients| Case {
        messages: 20,
        recipients,
        ..FAR
    };
    let everyone = || {
        vec![
            ours(),
            ours_blocking(),
            lettre_tokio(Nagle::AsPublished).with(8),
            lettre_tokio(Nagle::Cured).with(8),
            smtp_source(),
            nodemailer(),
            daaki(Daaki::Data),
            daaki(Daaki::Bdat),
        ]
    };
    vec![
        row("one recipient, link up", sequential(1), everyone()),
        row("10 recipients, link up", sequential(10), everyone()),
        row(
            "one recipient, server without CHUNKING",
            Case {
                upstream: SmtpSink,
                ..sequential(1)
            },
            vec![ours(), daaki(Daaki::Data)],
        ),
        row(
            "16 messages in flight on one link",
            Case {
                messages: 800,
                callers: 16,
                ..FAR
            },
            vec![ours()],
        ),
        row(
            "cold start to the first accepted message",
            FAR,
            vec![
                contender("relay, tokio, wss, outbox of an earlier process", |case| {
                    ours::cold(case, Outbox::Old)
                }),
                contender("relay, tokio, wss, new outbox", |case| {
                    ours::cold(case, Outbox::New)
                }),
                contender("lettre 0.11.23, tokio, plain", lettre::cold),
            ],
        ),
    ]
}

fn far() -> Vec<Row> {
    let row = |name: &str, case, contenders| Row {
        table: "At a round trip of 50 ms",
        name: name.to_owned(),
        x: None,
        measure: Measure::MessagesPerSecond,
        case,
        contenders,
    };
    vec![
        row(
            "10 callers, each awaiting its message",
            Case {
                messages: 400,
                callers: 10,
                ..FAR
            },
            vec![
                ours(),
                ours_blocking(),
                lettre_tokio(Nagle::AsPublished).with(60),
                lettre_tokio(Nagle::Cured).with(60),
                nodemailer().with(150),
                smtp_source().with(100),
                daaki(Daaki::Bdat),
                tunnel().with(60),
                websocat().with(60),
            ],
        ),
        row(
            "queue kept full, one link",
            Case {
                messages: 20_000,
                callers: 1_000,
                ..FAR
            },
            vec![ours(), ours_blocking()],
        ),
    ]
}

fn near() -> Vec<Row> {
    let row = |name: &str, case, contenders| Row {
        table: "On one machine",
        name: name.to_owned(),
        x: None,
        measure: Measure::MessagesPerSecond,
        case,
        contenders,
    };
    let mut rows = vec![];
    for (name, callers, messages) in [
        ("1 KiB, one caller", 1, 4_000),
        ("1 KiB, 10 callers", 10, 10_000),
    ] {
        rows.push(row(
            name,
            Case {
                messages,
                callers,
                ..CASE
            },
            vec![
                ours(),
                ours_blocking(),
                lettre_tokio(Nagle::AsPublished).with(20 * callers),
                lettre_tokio(Nagle::Cured),
                lettre_blocking(Nagle::AsPublished).with(20 * callers),
                lettre_blocking(Nagle::Cured),
                tunnel(),
                websocat().with(messages / 8),
                nodemailer().with(60 * callers),
                daaki(Daaki::Data),
                smtp_source(),
            ],
        ));
    }
    rows.push(row(
        "1 KiB, queue kept full, one link",
        Case {
            messages: 20_000,
            callers: 1_000,
            upstream: Counting,
            ..CASE
        },
        vec![ours(), ours_blocking(), ceiling().with(100_000)],
    ));
    rows.push(row(
        "1 KiB, ceiling of smtp-sink",
        Case {
            messages: 20_000,
            ..CASE
        },
        vec![ceiling()],
    ));
    for (name, size, messages) in [
        ("100 KiB, one caller", 100 << 10, 600),
        ("10 MiB, one caller", 10 << 20, 12),
    ] {
        rows.push(row(
            name,
            Case {
                messages,
                size,
                ..CASE
            },
            vec![
                ours(),
                ours_blocking(),
                lettre_tokio(Nagle::Cured),
                lettre_blocking(Nagle::Cured),
                tunnel(),
                websocat().with(messages / 4),
                ceiling(),
            ],
        ));
    }
    rows
}

fn growth(short: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let in_flight: &[usize] = if short {
        &[1, 16]
    } else {
        &[1, 4, 16, 64, 256, 1_000]
    };
    for &callers in in_flight {
        let case = Case {
            messages: (callers * 40).clamp(40, 20_000),
            callers,
            ..FAR
        };
        rows.push(Row {
            table: "Growth: messages in flight at 50 ms",
            name: "messages/s by callers, 1 KiB".to_owned(),
            x: Some(callers as f64),
            measure: Measure::MessagesPerSecond,
            case,
            contenders: if callers <= 64 {
                vec![ours(), daaki(Daaki::Bdat)]
            } else {
                vec![ours()]
            },
        });
    }
    let sizes: &[usize] = if short {
        &[SMALLEST, 1 << 20]
    } else {
        &[
            SMALLEST,
            1 << 10,
            10 << 10,
            100 << 10,
            1 << 20,
            10 << 20,
            100 << 20,
        ]
    };
    for &size in sizes {
        let messages = ((64 << 20) / size).clamp(3, 4_000);
        rows.push(Row {
            table: "Growth: message size on one machine",
            name: "MiB/s by bytes a message, one caller".to_owned(),
            x: Some(size as f64),
            measure: Measure::BytesPerSecond,
            case: Case {
                messages,
                size,
                ..CASE
            },
            contenders: vec![ours(), lettre_tokio(Nagle::Cured), tunnel()],
        });
    }
    rows
}

// ---- doing it ----

/// Every repetition goes through all rows, and through all contenders in each, so that what disturbs the machine disturbs
/// everyone.
pub(crate) fn measure(plan: &Plan) -> Outcome<()> {
    if !plan.proxy
        && let Err(error) = host::lay_line(ROUND_TRIP)
    {
        eprintln!(
            "mail: NO REAL TCP ON THE LONG LINE: {error}; a proxy that delays takes its place"
        );
    }
    let mut rows = round_trips();
    rows.extend(far());
    rows.extend(near());
    rows.extend(growth(plan.short));
    let websocat_is_there = has_websocat();
    if !websocat_is_there {
        eprintln!(
            "mail: NOT MEASURED: websocat, which is not there: bench/run without --short installs it"
        );
    }
    let repetitions = if plan.short { 1 } else { plan.repetitions };
    for repetition in 0..repetitions {
        for row in &rows {
            for contender in &row.contenders {
                let is_there = websocat_is_there || !contender.series.contains("websocat");
                if is_there && plan.wants(row, contender) {
                    measure_one(plan, row, contender, repetition)?;
                }
            }
        }
        memory(plan, repetition)?;
    }
    Ok(())
}

impl Plan {
    fn wants(&self, row: &Row, contender: &Contender) -> bool {
        self.wants_text(&[row.table, &row.name, contender.series])
    }

    fn wants_text(&self, texts: &[&str]) -> bool {
        let only = self.only.as_deref();
        only.is_none_or(|only| texts.iter().any(|text| text.contains(only)))
    }

    /// As much of a case as a short run takes.
    fn cut(&self, case: Case) -> Case {
        if !self.short {
            return case;
        }
        let callers = case.callers.min(20);
        let at_most = if case.round_trip.is_some() { 2 } else { 10 };
        let messages = case.messages.min(at_most.max(callers));
        let messages = if case.size > 1 << 20 { 1 } else { messages };
        Case {
            messages,
            callers,
            ..case
        }
    }
}

fn measure_one(plan: &Plan, row: &Row, contender: &Contender, repetition: u32) -> Outcome<()> {
    let messages = contender.messages.unwrap_or(row.case.messages);
    let case = plan.cut(Case {
        messages,
        ..row.case
    });
    let began = Instant::now();
    let took = (contender.measure)(&case)
        .map_err(|error| format!("{}, {}, {}: {error}", row.table, row.name, contender.series))?;
    let (value, unit, better) = row.measure.of(&case, took);
    eprintln!(
        "{repetition} {}: {}{}: {}: {value:.2} {unit} ({:.1} s)",
        row.table,
        row.name,
        row.x.map_or(String::new(), |x| format!(" [{x}]")),
        contender.series,
        began.elapsed().as_secs_f64()
    );
    let record = Record {
        table: row.table.to_owned(),
        row: row.name.clone(),
        series: contender.series.to_owned(),
        x: row.x,
        line: case.line(),
        unit: unit.to_owned(),
        value,
        repetition,
        better,
    };
    Ok(record.print()?)
}

/// What large messages cost the relay.
fn memory(plan: &Plan, repetition: u32) -> Outcome<()> {
    const TABLE: &str = "Memory of the relay";
    for (row, size, messages) in [
        ("10 messages of 1 MiB, one after the other", 1 << 20, 10),
        ("10 messages of 10 MiB, one after the other", 10 << 20, 10),
        ("3 messages of 100 MiB, one after the other", 100 << 20, 3),
    ] {
        if !plan.wants_text(&[TABLE, row]) || (plan.short && size > 10 << 20) {
            continue;
        }
        let case = plan.cut(Case {
            messages,
            size,
            ..CASE
        });
        let kibibytes =
            ours::relay_memory(&case).map_err(|error| format!("{TABLE}, {row}: {error}"))?;
        let record = Record {
            table: TABLE.to_owned(),
            row: row.to_owned(),
            series: OURS.to_owned(),
            x: None,
            line: None,
            unit: "MiB more at its peak".to_owned(),
            value: kibibytes as f64 / 1024.0,
            repetition,
            better: Better::Lower,
        };
        record.print()?;
    }
    Ok(())
}
