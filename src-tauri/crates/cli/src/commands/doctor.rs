//! `docent doctor`: do the rows and everything derived from them agree?

use std::fmt::Write;

use super::{Jobs, with_engine};
use crate::args::{Doctor, Settings};
use crate::failure::Failure;
use crate::output::{Output, counted};

pub async fn run(settings: &Settings, output: Output, command: Doctor) -> Result<(), Failure> {
    let report = with_engine(settings, Jobs::Rest, async |engine| {
        Ok(engine.doctor(command.repair).await?)
    })
    .await?;
    let left = report
        .findings
        .iter()
        .filter(|finding| finding.repaired.is_none())
        .count() as u64;
    output.result(&report, |report| {
        let mut text = format!(
            "looked at {}, {}, {}\n",
            counted(report.workspaces, "workspace"),
            counted(report.documents, "document"),
            counted(report.chunks, "chunk"),
        );
        for finding in &report.findings {
            let workspace = finding.workspace.as_deref().unwrap_or("everywhere");
            let _ = write!(text, "{workspace}: {}", finding.problem);
            let _ = match &finding.repaired {
                Some(repair) => writeln!(text, ": repaired, {repair}"),
                None => writeln!(text),
            };
        }
        for unchecked in &report.unchecked {
            let _ = writeln!(text, "not checked: {unchecked}");
        }
        for workspace in &report.to_wipe {
            let _ = writeln!(
                text,
                "{workspace}: what was removed is still to be wiped from its index's files, which \
                 happens while Docent runs, and with --repair"
            );
        }
        match (report.findings.is_empty(), report.unchecked.is_empty()) {
            (true, true) => text.push_str("everything agrees\n"),
            (true, false) => text.push_str("everything that was checked agrees\n"),
            (false, _) => {}
        }
        text
    })?;
    if left == 0 {
        return Ok(());
    }
    let failure = Failure::reported(format!("{} left", counted(left, "problem")));
    Err(if command.repair {
        failure
    } else {
        failure.with_hint("Repair with: docent doctor --repair")
    })
}
