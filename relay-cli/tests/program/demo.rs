use crate::harness::{relay, run};

#[test]
fn the_demonstration_goes_as_told() {
    let ended = run(relay(["demo"]));
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stderr, "");
    let told = [
        "✔ 5 “Server room on fire”",
        "✘ but not for <nobody@example.net>: 550 5.1.1",
        "✂ is cut in the middle of 2 “Holiday pictures”",
        "connects to the relay again",
        "✔ 2 “Holiday pictures”",
        "✘ 3 “Cheap watches”: Sender not authorized",
        "✔ 1 “Monthly newsletter”",
        "5 messages: 4 delivered, 1 refused, none lost, none twice",
    ];
    // In this order.
    let mut rest = &*ended.stdout;
    for line in told {
        let at = rest.find(line);
        let at =
            at.unwrap_or_else(|| panic!("{line:?} is missing or misplaced:\n{}", ended.stdout));
        rest = &rest[at..];
    }
}
