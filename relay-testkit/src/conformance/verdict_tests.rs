use super::*;

const NAME: &str = "websocket::a_reset_is_a_loss";

#[test]
fn the_transcript_that_is_kept_is_the_one_expected() {
    let kept = fs::read_to_string(file(NAME)).unwrap();
    assert_eq!(difference(&file(NAME), &kept), Ok(()));
}

#[test]
fn another_transcript_is_shown_by_its_difference() {
    let found = fs::read_to_string(file(NAME))
        .unwrap()
        .replace("lost", "closed");
    let difference = difference(&file(NAME), &found).unwrap_err();
    assert!(difference.contains("-    in-0 lost\n"), "{difference}");
    assert!(difference.contains("+    in-0 closed\n"), "{difference}");
}

#[test]
fn a_scenario_without_a_transcript_fails_and_shows_what_it_yields() {
    let difference = difference(&file("websocket::no_such_scenario"), "server\n").unwrap_err();
    assert!(difference.contains("no transcript is kept"), "{difference}");
    assert!(difference.ends_with("server\n"), "{difference}");
}

#[test]
fn a_transcript_without_its_scenario_is_named() {
    let left = no_transcript_is_left_over(&[]).unwrap_err();
    assert!(left.contains("a_reset_is_a_loss.txt"), "{left}");
}
