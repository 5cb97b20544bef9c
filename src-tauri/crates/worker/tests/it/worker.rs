//! The worker that the tests start.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use docent_worker::{Launch, Limits, Reply, RestartPolicy, Supervisor, serve_concurrently};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub enum Question {
    Echo,
    /// Sends 0, 1, 2, …
    Count {
        to: u32,
    },
    /// Sends one reply, then works until it is cancelled; takes no end by itself.
    UntilCancelled,
    /// Locks the file for as long as the process lives, and sends its process id.
    Hold {
        file: PathBuf,
    },
    /// Sends one reply, then kills itself.
    Die {
        reply_first: bool,
    },
    Panic,
    Refuse,
    /// Writes to standard output, as a careless library does.
    Print,
    /// Allocates this much.
    Allocate {
        bytes: usize,
    },
    /// Uses the processor until it is killed.
    Spin,
    Environment {
        name: String,
    },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    Text(String),
    Number(u32),
    Started,
    Cancelled,
}

pub fn launch() -> Launch {
    role("serve", &[])
}

pub fn role(name: &str, rest: &[&Path]) -> Launch {
    let mut args = vec!["worker".into(), name.into()];
    args.extend(rest.iter().map(|path| path.as_os_str().to_owned()));
    Launch {
        program: std::env::current_exe().unwrap(),
        args,
        env: Vec::new(),
        limits: Limits::default(),
    }
}

pub fn run(name: &str, rest: &[String]) {
    match name {
        "serve" => {
            serve_concurrently(4, |question, body, reply| answer(question, &body, reply)).unwrap();
        }
        // Has no ear for the end of its input: only the kernel can end it with its parent.
        "deaf" => {
            let _held = hold(Path::new(&rest[0]));
            loop {
                std::thread::park();
            }
        }
        // A parent of its own, which reports once its workers run and then never ends.
        "parent" => runtime().block_on(async {
            let supervisor = Supervisor::new("child", launch(), RestartPolicy::default());
            let mut call = supervisor
                .call::<_, Answer>(
                    &Question::Hold {
                        file: PathBuf::from(&rest[0]),
                    },
                    Bytes::new(),
                )
                .await
                .unwrap();
            call.next().await.unwrap().unwrap();
            let deaf = Supervisor::new(
                "deaf",
                role("deaf", &[Path::new(&rest[1])]),
                RestartPolicy::default(),
            );
            let call = deaf.call::<_, Answer>(&Question::Echo, Bytes::new()).await;
            eprintln!("{}", deaf.pid().unwrap());
            std::future::pending::<()>().await;
            drop(call);
        }),
        unknown => panic!("no role {unknown}"),
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn hold(file: &Path) -> File {
    let file = File::create(file).unwrap();
    file.lock().unwrap();
    file
}

fn answer(question: Question, body: &[u8], reply: &Reply<Answer>) -> Result<(), String> {
    let send =
        |answer: Answer, body: &[u8]| reply.send(&answer, body).map_err(|error| error.to_string());
    match question {
        Question::Echo => send(Answer::Text("echo".into()), body),
        Question::Count { to } => {
            for number in 0..to {
                send(Answer::Number(number), b"")?;
            }
            Ok(())
        }
        Question::UntilCancelled => {
            send(Answer::Started, b"")?;
            while !reply.is_cancelled() {
                std::thread::yield_now();
            }
            send(Answer::Cancelled, b"")
        }
        Question::Hold { file } => {
            std::mem::forget(hold(&file));
            send(Answer::Number(std::process::id()), b"")
        }
        Question::Die { reply_first } => {
            if reply_first {
                send(Answer::Started, b"")?;
            }
            eprintln!("about to abort");
            std::process::abort();
        }
        Question::Panic => panic!("a handler's panic"),
        Question::Refuse => Err("not this one".into()),
        Question::Print => {
            println!("stray text on standard output");
            send(Answer::Text("printed".into()), b"")
        }
        Question::Allocate { bytes } => {
            let memory = vec![1_u8; bytes];
            send(
                Answer::Number(memory.iter().map(|byte| u32::from(*byte)).sum()),
                b"",
            )
        }
        Question::Spin => loop {
            std::hint::spin_loop();
        },
        Question::Environment { name } => {
            send(Answer::Text(std::env::var(name).unwrap_or_default()), b"")
        }
    }
}
