use super::*;

const WINDOW: u64 = 256 * 1024;
const ROUND_TRIP: Duration = Duration::from_millis(50);

fn limit(pace: &Pace) -> usize {
    (0..).find(|under_way| !pace.has_room(*under_way)).unwrap()
}

#[test]
fn more_are_under_way_while_that_costs_no_time() {
    let mut pace = Pace::new(512, WINDOW);
    assert_eq!(limit(&pace), 16);
    for _ in 0..100 {
        pace.accepted(ROUND_TRIP);
    }
    assert_eq!(limit(&pace), 116);
    for _ in 0..1000 {
        pace.accepted(ROUND_TRIP + ROUND_TRIP);
    }
    assert_eq!(limit(&pace), 512, "as many as there may be at most");
}

#[test]
fn fewer_are_when_they_wait_for_each_other() {
    let mut pace = Pace::new(512, WINDOW);
    for _ in 0..100 {
        pace.accepted(ROUND_TRIP);
    }
    pace.accepted(ROUND_TRIP * 3);
    assert_eq!(limit(&pace), 116, "a little longer means nothing");
    for _ in 0..1000 {
        pace.accepted(ROUND_TRIP * 5);
    }
    assert_eq!(limit(&pace), 16, "never fewer than at first");
    pace.start_over();
    pace.accepted(ROUND_TRIP * 5);
    assert_eq!(limit(&pace), 17, "another way, another time");
}

#[test]
fn few_large_messages_count_as_many_small_ones() {
    let mut pace = Pace::new(512, WINDOW);
    for _ in 0..496 {
        pace.accepted(ROUND_TRIP);
    }
    for _ in 0..64 {
        pace.begun(100 << 20);
    }
    assert_eq!(limit(&pace), 16);
    pace.ended(100 << 20);
    assert_eq!(limit(&pace), 512);
}

#[test]
fn nobody_gets_more_than_it_asked_for() {
    for most in [1, 3, 16] {
        let mut pace = Pace::new(most, WINDOW);
        for _ in 0..100 {
            pace.accepted(ROUND_TRIP);
            assert_eq!(limit(&pace), most);
            pace.accepted(ROUND_TRIP * 9);
            assert_eq!(limit(&pace), most);
        }
    }
}
