use super::*;
use alloc::string::ToString;
use proptest::prelude::*;

fn parsed(text: &str) -> Result<Rate, ParseRateError> {
    text.parse()
}

#[test]
fn rates_read_and_write_as_people_write_them() {
    for (text, rate, shown) in [
        ("10/s", Rate::per_second(10), "10/s"),
        ("600/min", Rate::per_second(10), "10/s"),
        ("10/s:1", Rate::per_second(10).with_burst(1), "10/s:1"),
        ("10/s:10", Rate::per_second(10), "10/s"),
        ("2.5/s", Rate::new(5, Duration::from_secs(2)), "2.5/s"),
        ("5/2s", Rate::new(5, Duration::from_secs(2)), "2.5/s"),
        ("0.05/s", Rate::new(1, Duration::from_secs(20)), "0.05/s"),
        ("3/250ms", Rate::per_second(12), "12/s"),
        ("1/min", Rate::new(1, Duration::from_secs(60)), "1/min"),
        ("5/h", Rate::new(5, Duration::from_secs(3600)), "5/h"),
        (
            "1000/d",
            Rate::new(1000, Duration::from_secs(86_400)),
            "1000/d",
        ),
        ("1/7ns", Rate::new(1, Duration::from_nanos(7)), "1/7ns"),
    ] {
        assert_eq!(parsed(text), Ok(rate), "{text}");
        assert_eq!(rate.to_string(), shown);
    }
}

#[test]
fn as_many_as_in_a_second_go_at_once_where_nothing_else_is_said_and_one_at_least() {
    assert_eq!(Rate::per_second(10).burst(), 10);
    assert_eq!(parsed("1000/min").unwrap().burst(), 16);
    assert_eq!(parsed("5/h").unwrap().burst(), 1);
}

#[test]
fn what_is_no_rate_is_refused_with_what_is_wrong() {
    for text in [
        "",
        "10",
        "10/",
        "/s",
        "10/m",
        "10/fortnight",
        "ten/s",
        "-1/s",
        "+1/s",
        "10/s:",
        "10/s:x",
        "10/s:+1",
        "1./s",
        ".5/s",
        "1.5.5/s",
        "10 /s",
        "10/+1s",
    ] {
        assert_eq!(parsed(text), Err(ParseRateError::Form), "{text}");
    }
    for text in ["0/s", "0.0/s", "10/0s", "10/s:0"] {
        assert_eq!(parsed(text), Err(ParseRateError::Zero), "{text}");
    }
    for text in [
        "99999999999999999999/s",
        "10/99999999999d",
        "1/s:99999999999999999999",
        "1.00000000000000000001/s",
    ] {
        assert_eq!(parsed(text), Err(ParseRateError::TooLarge), "{text}");
    }
}

#[test]
fn nothing_counts_as_one() {
    assert_eq!(
        Rate::new(0, Duration::ZERO),
        Rate::new(1, Duration::from_nanos(1))
    );
    assert_eq!(Rate::per_second(5).with_burst(0).burst(), 1);
    assert_eq!(
        Rate::new(1, Duration::MAX).per(),
        Duration::from_nanos(u64::MAX)
    );
}

proptest! {
    #[test]
    fn what_is_written_reads_as_the_same_rate(events in 1u64.., per in 1u64.., burst in prop::option::of(1u64..)) {
        let rate = Rate::new(events, Duration::from_nanos(per));
        let rate = burst.map_or(rate, |burst| rate.with_burst(burst));
        let written = rate.to_string();
        prop_assert_eq!(parsed(&written), Ok(rate), "{}", written);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[0-9.:/a-z+-]{0,24}|\\PC*") {
        let _ = parsed(&text);
    }
}
