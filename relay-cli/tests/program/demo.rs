use crate::harness::{relay, run};

#[test]
fn the_demonstration_goes_as_told() {
    let ended = run(relay(["demo"]));
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stderr, "");
    let settled = [
        "✔ 5 “Server room on fire”",
        "✔ 4 “Invoice 4711”",
        "✘ but not for <nobody@example.net>: 550 5.1.1",
        "✘ 3 “Cheap watches”: Sender not authorized",
        "✔ 1 “Monthly newsletter”",
    ];
    for line in settled {
        assert!(
            ended.stdout.contains(line),
            "{line:?} is missing:\n{}",
            ended.stdout
        );
    }
    let in_this_order = [
        "✂ is cut in the middle of 2 “Holiday pictures”",
        "connects to the relay again",
        "goes on where the cable was cut",
        "✔ 2 “Holiday pictures”",
        "5 messages: 4 delivered, 1 refused, none lost, none twice",
    ];
    let mut rest = &*ended.stdout;
    for line in in_this_order {
        let at = rest.find(line);
        let at =
            at.unwrap_or_else(|| panic!("{line:?} is missing or misplaced:\n{}", ended.stdout));
        rest = &rest[at..];
    }
}
