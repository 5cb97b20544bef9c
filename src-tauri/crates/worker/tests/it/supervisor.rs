use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use docent_worker::{Error, Launch, Limits, RestartPolicy, Supervisor};

use crate::worker::{Answer, Question, launch, role, runtime};

pub const TESTS: &[crate::Test] = &[
    ("echoes_bodies_of_any_size", echoes_bodies_of_any_size),
    ("streams_replies_in_order", streams_replies_in_order),
    (
        "calls_overlap_and_one_is_cancelled",
        calls_overlap_and_one_is_cancelled,
    ),
    ("a_dropped_call_is_cancelled", a_dropped_call_is_cancelled),
    (
        "a_killed_process_fails_its_calls_alone",
        a_killed_process_fails_its_calls_alone,
    ),
    ("an_idle_death_costs_nothing", an_idle_death_costs_nothing),
    ("a_crash_loop_is_broken", a_crash_loop_is_broken),
    (
        "deaths_in_mid_work_are_no_crash_loop",
        deaths_in_mid_work_are_no_crash_loop,
    ),
    (
        "refusals_and_panics_leave_the_process",
        refusals_and_panics_leave_the_process,
    ),
    (
        "stray_output_does_not_break_the_frames",
        stray_output_does_not_break_the_frames,
    ),
    (
        "stop_ends_the_process_and_the_next_call_starts_it",
        stop_ends_the_process_and_the_next_call_starts_it,
    ),
    (
        "dropping_the_supervisor_kills",
        dropping_the_supervisor_kills,
    ),
    (
        "workers_die_with_their_parent",
        workers_die_with_their_parent,
    ),
    ("limits_are_enforced", limits_are_enforced),
    ("a_missing_program_is_named", a_missing_program_is_named),
    (
        "a_process_that_is_no_worker_is_refused",
        a_process_that_is_no_worker_is_refused,
    ),
];

fn supervisor() -> Supervisor {
    Supervisor::new("test", launch(), RestartPolicy::default())
}

async fn ask(supervisor: &Supervisor, question: Question) -> Result<Answer, Error> {
    supervisor
        .ask::<_, Answer>(&question, Bytes::new())
        .await
        .map(|(answer, _)| answer)
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Returns when no living process holds the lock; the kernel drops it with its holder.
fn wait_for_release(file: &Path) {
    File::open(file).unwrap().lock().unwrap();
}

fn echoes_bodies_of_any_size() {
    runtime().block_on(async {
        let supervisor = supervisor();
        for size in [0, 1, 65_536, 10_000_000] {
            let body = Bytes::from((0..size).map(|i| (i % 251) as u8).collect::<Vec<_>>());
            let (answer, echoed) = supervisor
                .ask::<_, Answer>(&Question::Echo, body.clone())
                .await
                .unwrap();
            assert_eq!(answer, Answer::Text("echo".into()));
            assert!(echoed == body, "{size} bytes came back changed");
        }
    });
}

fn streams_replies_in_order() {
    runtime().block_on(async {
        let supervisor = supervisor();
        let mut call = supervisor
            .call::<_, Answer>(&Question::Count { to: 1000 }, Bytes::new())
            .await
            .unwrap();
        for expected in 0..1000 {
            let (answer, _) = call.next().await.unwrap().unwrap();
            assert_eq!(answer, Answer::Number(expected));
        }
        assert!(
            call.next().await.is_none(),
            "the end follows the last reply"
        );
        assert!(call.next().await.is_none(), "and stays the end");
    });
}

fn calls_overlap_and_one_is_cancelled() {
    runtime().block_on(async {
        let supervisor = supervisor();
        let mut long = supervisor
            .call::<_, Answer>(&Question::UntilCancelled, Bytes::new())
            .await
            .unwrap();
        assert_eq!(long.next().await.unwrap().unwrap().0, Answer::Started);
        // While the first works, a second is answered, by the same process.
        let pid = supervisor.pid();
        assert_eq!(
            ask(&supervisor, Question::Echo).await.unwrap(),
            Answer::Text("echo".into())
        );
        assert_eq!(supervisor.pid(), pid);
        long.cancel();
        assert_eq!(long.next().await.unwrap().unwrap().0, Answer::Cancelled);
        assert!(long.next().await.is_none());
    });
}

fn a_dropped_call_is_cancelled() {
    runtime().block_on(async {
        let supervisor = supervisor();
        // More than there are handler threads: the last is answered only if the dropped ones ended.
        for _ in 0..8 {
            let mut call = supervisor
                .call::<_, Answer>(&Question::UntilCancelled, Bytes::new())
                .await
                .unwrap();
            assert_eq!(call.next().await.unwrap().unwrap().0, Answer::Started);
        }
    });
}

fn a_killed_process_fails_its_calls_alone() {
    runtime().block_on(async {
        let supervisor = supervisor();
        for round in 0..20 {
            let mut first = supervisor
                .call::<_, Answer>(&Question::UntilCancelled, Bytes::new())
                .await
                .unwrap();
            let mut second = supervisor
                .call::<_, Answer>(&Question::UntilCancelled, Bytes::new())
                .await
                .unwrap();
            assert_eq!(first.next().await.unwrap().unwrap().0, Answer::Started);
            assert_eq!(second.next().await.unwrap().unwrap().0, Answer::Started);
            kill(supervisor.pid().unwrap());
            for call in [&mut first, &mut second] {
                let error = call.next().await.unwrap().unwrap_err();
                assert!(
                    matches!(&error, Error::Died { how, .. } if how.contains("signal 9")),
                    "{error}"
                );
                assert!(error.is_retryable());
                assert!(call.next().await.is_none(), "an error is the last item");
            }
            let echo = ask(&supervisor, Question::Echo).await;
            assert_eq!(echo.unwrap(), Answer::Text("echo".into()), "round {round}");
        }
    });
}

fn an_idle_death_costs_nothing() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("held");
        let supervisor = supervisor();
        ask(&supervisor, Question::Hold { file: file.clone() })
            .await
            .unwrap();
        kill(supervisor.pid().unwrap());
        wait_for_release(&file);
        // The process is gone, but its end may not have been noticed. Either the call starts a
        // fresh process, or it is told of the death; it never hangs.
        match ask(&supervisor, Question::Echo).await {
            Ok(answer) => assert_eq!(answer, Answer::Text("echo".into())),
            Err(error) => assert!(matches!(error, Error::Died { .. }), "{error}"),
        }
        assert!(ask(&supervisor, Question::Echo).await.is_ok());
    });
}

fn a_crash_loop_is_broken() {
    runtime().block_on(async {
        let policy = RestartPolicy {
            max_deaths: 3,
            first_delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            cooldown: Duration::MAX,
        };
        let supervisor = Supervisor::new("test", launch(), policy);
        for _ in 0..3 {
            let error = ask(&supervisor, Question::Die { reply_first: false })
                .await
                .unwrap_err();
            assert!(
                matches!(&error, Error::Died { how, .. } if how.contains("about to abort")),
                "the last words are reported: {error}"
            );
        }
        for _ in 0..2 {
            let error = ask(&supervisor, Question::Echo).await.unwrap_err();
            assert!(
                matches!(error, Error::CrashLoop { deaths: 3, .. }),
                "{error}"
            );
            assert!(
                !supervisor.is_running(),
                "nothing is started while the loop is broken"
            );
        }

        // With the pause over, one call is let through, and a good one closes the matter.
        let policy = RestartPolicy {
            cooldown: Duration::ZERO,
            ..policy
        };
        let supervisor = Supervisor::new("test", launch(), policy);
        for _ in 0..5 {
            let error = ask(&supervisor, Question::Die { reply_first: false })
                .await
                .unwrap_err();
            assert!(matches!(error, Error::Died { .. }), "{error}");
        }
        assert!(ask(&supervisor, Question::Echo).await.is_ok());
    });
}

fn deaths_in_mid_work_are_no_crash_loop() {
    runtime().block_on(async {
        let policy = RestartPolicy {
            max_deaths: 2,
            cooldown: Duration::MAX,
            ..RestartPolicy::default()
        };
        let supervisor = Supervisor::new("test", launch(), policy);
        for _ in 0..10 {
            let mut call = supervisor
                .call::<_, Answer>(&Question::Die { reply_first: true }, Bytes::new())
                .await
                .unwrap();
            assert_eq!(call.next().await.unwrap().unwrap().0, Answer::Started);
            assert!(matches!(call.next().await, Some(Err(Error::Died { .. }))));
        }
    });
}

fn refusals_and_panics_leave_the_process() {
    runtime().block_on(async {
        let supervisor = supervisor();
        let refused = ask(&supervisor, Question::Refuse).await.unwrap_err();
        let pid = supervisor.pid().unwrap();
        assert_eq!(refused.to_string(), "not this one");
        let panicked = ask(&supervisor, Question::Panic).await.unwrap_err();
        assert!(
            matches!(&panicked, Error::Panicked { message, .. } if message == "a handler's panic")
        );
        let unknown = supervisor
            .ask::<_, Answer>(&"no such question", Bytes::new())
            .await
            .unwrap_err();
        assert!(matches!(unknown, Error::Refused { .. }), "{unknown}");
        let misread = supervisor
            .ask::<_, u32>(&Question::Echo, Bytes::new())
            .await
            .unwrap_err();
        assert!(matches!(misread, Error::Decode { .. }), "{misread}");
        assert!(ask(&supervisor, Question::Echo).await.is_ok());
        assert_eq!(
            supervisor.pid(),
            Some(pid),
            "the same process answered all of them"
        );
    });
}

fn stray_output_does_not_break_the_frames() {
    runtime().block_on(async {
        let supervisor = supervisor();
        assert_eq!(
            ask(&supervisor, Question::Print).await.unwrap(),
            Answer::Text("printed".into())
        );
        assert!(ask(&supervisor, Question::Echo).await.is_ok());
    });
}

fn stop_ends_the_process_and_the_next_call_starts_it() {
    runtime().block_on(async {
        let policy = RestartPolicy {
            max_deaths: 1,
            cooldown: Duration::MAX,
            ..RestartPolicy::default()
        };
        let supervisor = Supervisor::new("test", launch(), policy);
        assert!(
            !supervisor.is_running(),
            "nothing starts before the first call"
        );
        for _ in 0..3 {
            let mut call = supervisor
                .call::<_, Answer>(&Question::UntilCancelled, Bytes::new())
                .await
                .unwrap();
            assert_eq!(call.next().await.unwrap().unwrap().0, Answer::Started);
            supervisor.stop().await;
            assert!(!supervisor.is_running());
            assert!(matches!(
                call.next().await,
                Some(Err(Error::Stopped { .. }))
            ));
        }
        assert!(
            ask(&supervisor, Question::Echo).await.is_ok(),
            "a stop is no crash"
        );
    });
}

fn dropping_the_supervisor_kills() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("held");
        let supervisor = supervisor();
        let mut held = supervisor
            .call::<_, Answer>(&Question::Hold { file: file.clone() }, Bytes::new())
            .await
            .unwrap();
        held.next().await.unwrap().unwrap();
        let other = supervisor.clone();
        drop(supervisor);
        assert!(other.is_running(), "another handle keeps it");
        drop(other);
        wait_for_release(&file);
    });
}

fn workers_die_with_their_parent() {
    let folder = tempfile::tempdir().unwrap();
    let (listening, deaf) = (folder.path().join("listening"), folder.path().join("deaf"));
    let launch = role("parent", &[&listening, &deaf]);
    let mut parent = Command::new(launch.program)
        .args(launch.args)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let deaf_pid = line.trim().parse::<i32>().unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_for_release(&listening);
    // Waiting through the kernel's own handle works for a process that is not our child.
    let pid = rustix::process::Pid::from_raw(deaf_pid).unwrap();
    if let Ok(handle) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
        let mut ends = [rustix::event::PollFd::new(
            &handle,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut ends, None).unwrap();
    }
}

fn limits_are_enforced() {
    runtime().block_on(async {
        let limited = |limits| {
            Supervisor::new(
                "test",
                launch().with_limits(limits).with_env("DOCENT_TEST", "čćž"),
                RestartPolicy::for_untrusted_input(),
            )
        };
        let supervisor = limited(Limits {
            data_bytes: Some(256 << 20),
            cpu_seconds: Some(1),
            file_bytes: Some(1 << 20),
            open_files: Some(64),
            niceness: Some(5),
        });
        assert_eq!(
            ask(&supervisor, Question::Allocate { bytes: 1 << 20 })
                .await
                .unwrap(),
            Answer::Number(1 << 20)
        );
        let bomb = ask(&supervisor, Question::Allocate { bytes: 1 << 30 })
            .await
            .unwrap_err();
        assert!(
            matches!(&bomb, Error::Died { how, .. } if how.contains("memory allocation")),
            "{bomb}"
        );
        let spin = ask(&supervisor, Question::Spin).await.unwrap_err();
        assert!(
            matches!(&spin, Error::Died { how, .. } if how.contains("processor time")),
            "{spin}"
        );
        let name = "DOCENT_TEST".to_owned();
        assert_eq!(
            ask(&supervisor, Question::Environment { name })
                .await
                .unwrap(),
            Answer::Text("čćž".into())
        );
        // The control: without limits the same request is answered.
        let free = limited(Limits::default());
        assert_eq!(
            ask(&free, Question::Allocate { bytes: 1 << 30 })
                .await
                .unwrap(),
            Answer::Number(1 << 30)
        );
    });
}

fn a_missing_program_is_named() {
    runtime().block_on(async {
        let launch = Launch {
            program: "/nowhere/docent".into(),
            ..launch()
        };
        let supervisor = Supervisor::new("test", launch, RestartPolicy::default());
        let error = ask(&supervisor, Question::Echo).await.unwrap_err();
        assert!(matches!(error, Error::Spawn { .. }));
        assert!(error.to_string().contains("/nowhere/docent"), "{error}");
    });
}

fn a_process_that_is_no_worker_is_refused() {
    runtime().block_on(async {
        let launch = Launch {
            program: std::env::current_exe().unwrap(),
            args: vec!["--list".into()],
            ..launch()
        };
        let supervisor = Supervisor::new("test", launch, RestartPolicy::default());
        let error = ask(&supervisor, Question::Echo).await.unwrap_err();
        assert!(
            matches!(&error, Error::Died { how, .. } if how.contains("broken protocol")),
            "{error}"
        );
    });
}
