use crate::harness::{relay, run};

#[test]
fn every_message_arrives_once_in_either_dialect_and_behind_a_long_line() {
    for options in [
        &["--messages", "50"][..],
        &["--messages", "20", "--base-only", "--callers", "3"],
        &[
            "--messages",
            "30",
            "--round-trip",
            "20",
            "--tls",
            "--recipients",
            "3",
            "--size",
            "20000",
        ],
    ] {
        let ended = run(relay([&["bench"], options].concat()));
        assert_eq!(
            ended.code, 0,
            "{options:?}: {}{}",
            ended.stdout, ended.stderr
        );
        assert_eq!(ended.stderr, "");
        for line in ["messages a second", "time to acceptance", "bytes of frames"] {
            assert!(
                ended.stdout.contains(line),
                "{line:?} is missing:\n{}",
                ended.stdout
            );
        }
        let has_delay = options.contains(&"--round-trip");
        assert_eq!(
            ended.stdout.contains("round trips"),
            has_delay,
            "{}",
            ended.stdout
        );
    }
}

#[test]
fn what_cannot_be_measured_is_said() {
    let cases = [
        (&["--size", "127"][..], "a message has 128 bytes at least"),
        (&["--round-trip", "0"], "leave it out"),
        (&["--url", "ws://127.0.0.1:1/"], "--to <ADDRESS>"),
        (
            &["--url", "ws://127.0.0.1:1/", "--to", "bob@example.net"],
            "no API key",
        ),
        (
            &["--url", "ws://h/", "--to", "a@b", "--round-trip", "5"],
            "cannot be used with",
        ),
    ];
    for (options, part) in cases {
        let ended = run(relay([&["bench"], options].concat()));
        assert_eq!(ended.code, 2, "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{options:?}: {}", ended.stderr);
    }
}
