//! `docent workspaces embedder`

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use docent_api::dto::{ChangeState, EmbedderChange, EmbedderPlan, EmbedderStatus};
use docent_api::error::Code;
use docent_domain::WorkspaceScope;
use docent_engine::Engine;
use tokio::sync::broadcast::error::RecvError;

use super::{Jobs, with_engine};
use crate::args::{Embedder, Settings};
use crate::failure::Failure;
use crate::output::{Output, bytes, counted};

/// Progress is looked at this often even when nothing announces it.
const LOOK: Duration = Duration::from_secs(2);

pub async fn run(settings: &Settings, output: Output, command: Embedder) -> Result<(), Failure> {
    let goes_on = command.yes || command.resume;
    let jobs = if goes_on { Jobs::Run } else { Jobs::Rest };
    with_engine(settings, jobs, async |engine| {
        let scope = engine.scope(&command.name).await?;
        if let Some(to) = &command.to {
            if !command.yes {
                let plan = EmbedderPlan::from(engine.plan_embedder_change(&scope, to).await?);
                output.result(&plan, described)?;
                return match plan.obstacle {
                    None => Ok(()),
                    Some(obstacle) => Err(Failure::reported(obstacle)),
                };
            }
            // Whoever says yes has seen the plan.
            engine.change_embedder(&scope, to, true).await?;
        } else if command.pause {
            engine.pause_embedder_change(&scope).await?;
        } else if command.resume {
            engine.resume_embedder_change(&scope).await?;
        } else if command.cancel {
            engine.cancel_embedder_change(&scope).await?;
        } else if command.rollback {
            engine.roll_back_embedder(&scope).await?;
        } else if command.discard {
            engine.discard_previous_vectors(&scope).await?;
        }
        if goes_on {
            changed(engine, &scope, output).await?;
        }
        let status = EmbedderStatus::from(engine.embedder_status(&scope).await?);
        output.result(&status, text)?;
        match status.change {
            Some(change) if change.state == ChangeState::Failed => {
                Err(Failure::reported(change.reason.unwrap_or_default())
                    .with_hint("Go on with --resume, or give it up with --cancel."))
            }
            _ => Ok(()),
        }
    })
    .await
}

/// Waits until the change is done, or does not go on.
async fn changed(
    engine: &Arc<Engine>,
    scope: &WorkspaceScope,
    output: Output,
) -> Result<(), Failure> {
    let bar = output.progress("{bar:40} {pos}/{len} {msg}");
    let mut changes = engine.subscribe();
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let status = EmbedderStatus::from(engine.embedder_status(scope).await?);
        let Some(change) = status
            .change
            .filter(|change| change.state == ChangeState::Running)
        else {
            break;
        };
        if engine.is_work_paused(scope).await? {
            bar.finish_and_clear();
            let message = "the workspace's work is paused. What is made is kept; the rest waits";
            return Err(Failure::new(Code::Conflict, message)
                .with_hint("Let it go on with `docent jobs resume`, then with --resume."));
        }
        bar.set_length(change.total);
        bar.set_position(change.done);
        bar.set_message(match (&change.reason, change.seconds_left) {
            (Some(reason), _) => reason.clone(),
            (None, Some(seconds)) => format!("about {} left", duration(seconds)),
            (None, None) => String::new(),
        });
        tokio::select! {
            heard = changes.recv() => if heard == Err(RecvError::Closed) { break },
            () = tokio::time::sleep(LOOK) => {}
            _ = &mut interrupted => {
                bar.finish_and_clear();
                return Err(Failure::new(Code::Conflict, "interrupted")
                    .with_hint("What is made is kept; go on with --resume."));
            }
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn described(plan: &EmbedderPlan) -> String {
    let mut text = format!(
        "{} → {}: {}",
        plan.from,
        plan.to,
        counted(plan.chunks, "passage")
    );
    let _ = match plan.seconds {
        Some(seconds) => write!(text, ", about {}", duration(seconds)),
        None => write!(text, ", time unknown"),
    };
    if let Some(needed) = plan.disk_bytes {
        let _ = write!(text, ", {} on the disk", bytes(needed));
    }
    if let Some(free) = plan.free_bytes {
        let _ = write!(text, " ({} free)", bytes(free));
    }
    if let Some(long) = plan.long_passages.filter(|long| long.longer > 0) {
        let _ = write!(
            text,
            "\n{} of {} passages looked at are longer than the {} tokens that {} reads: what stands \
             behind that would be found by its words only",
            long.longer, long.looked_at, long.max_tokens, plan.to
        );
    }
    if plan.obstacle.is_none() {
        text.push_str("\nquestions are answered meanwhile; begin with --yes");
    }
    text
}

fn text(status: &EmbedderStatus) -> String {
    let mut text = format!("{}, {}", status.embedder, bytes(status.size_bytes));
    if let Some(change) = &status.change {
        let _ = write!(text, "\n{}", under_way(change));
    }
    if let Some(kept) = &status.previous {
        let days = (kept.kept_until - kept.replaced_at) / (24 * 3600 * 1000);
        let _ = write!(
            text,
            "\nkept to go back to for {}: {}, {}",
            counted(days as u64, "day"),
            kept.embedder,
            bytes(kept.size_bytes)
        );
    }
    text
}

fn under_way(change: &EmbedderChange) -> String {
    let state = match change.state {
        ChangeState::Running => "changing",
        ChangeState::Paused => "paused changing",
        ChangeState::Failed => "stopped changing",
    };
    let mut text = format!(
        "{state} to {}: {} of {}",
        change.to, change.done, change.total
    );
    if let Some(seconds) = change.seconds_left {
        let _ = write!(text, ", about {} left", duration(seconds));
    }
    if let Some(reason) = &change.reason {
        let _ = write!(text, ": {reason}");
    }
    text
}

/// In the two largest units that say something.
fn duration(seconds: f64) -> String {
    let seconds = seconds.ceil().max(0.0) as u64;
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        assert_eq!(duration(0.2), "1 s");
        assert_eq!(duration(59.0), "59 s");
        assert_eq!(duration(200.0), "3 min");
        assert_eq!(duration(7_260.0), "2 h 1 min");
    }
}
