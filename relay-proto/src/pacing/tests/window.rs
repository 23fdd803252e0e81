use super::*;

const WINDOW: u64 = 256 * 1024;
const ROUND_TRIP: Duration = Duration::from_millis(50);

fn limit(window: &Window) -> usize {
    (0..)
        .find(|under_way| !window.has_room(*under_way))
        .unwrap()
}

#[test]
fn more_are_under_way_while_that_costs_no_time() {
    let mut window = Window::new(512, WINDOW);
    assert_eq!(limit(&window), 16);
    for _ in 0..100 {
        window.accepted(ROUND_TRIP);
    }
    assert_eq!(limit(&window), 116);
    for _ in 0..1000 {
        window.accepted(ROUND_TRIP + ROUND_TRIP);
    }
    assert_eq!(limit(&window), 512, "as many as there may be at most");
}

#[test]
fn fewer_are_when_they_wait_for_each_other() {
    let mut window = Window::new(512, WINDOW);
    for _ in 0..100 {
        window.accepted(ROUND_TRIP);
    }
    window.accepted(ROUND_TRIP * 3);
    assert_eq!(limit(&window), 116, "a little longer means nothing");
    for _ in 0..1000 {
        window.accepted(ROUND_TRIP * 5);
    }
    assert_eq!(limit(&window), 16, "never fewer than at first");
    window.start_over();
    window.accepted(ROUND_TRIP * 5);
    assert_eq!(limit(&window), 17, "another way, another time");
}

#[test]
fn few_large_messages_count_as_many_small_ones() {
    let mut window = Window::new(512, WINDOW);
    for _ in 0..496 {
        window.accepted(ROUND_TRIP);
    }
    for _ in 0..64 {
        window.begun(100 << 20);
    }
    assert_eq!(limit(&window), 16);
    window.ended(100 << 20);
    assert_eq!(limit(&window), 512);
}

#[test]
fn nobody_gets_more_than_it_asked_for() {
    for most in [1, 3, 16] {
        let mut window = Window::new(most, WINDOW);
        for _ in 0..100 {
            window.accepted(ROUND_TRIP);
            assert_eq!(limit(&window), most);
            window.accepted(ROUND_TRIP * 9);
            assert_eq!(limit(&window), most);
        }
    }
}
