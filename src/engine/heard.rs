//! Fetching what a migrator has written about its run: within the attempt, and only what the attempt has written.

use super::{
    lane::{Lane, Order, Stop, after_the_fact},
    output::Output,
    work::Work,
};
use crate::{
    host::Exit,
    journal::{Failure, Part},
    migrator::{Age, Content, ReportFile, Said, age, paths},
    plan::{PlanStep, Rendered},
    playbook::Reads,
    run::{Ending, Heard, hear, hear_until_then},
};
use std::sync::Arc;
use tokio::time::Instant;

/// So much of a report is read, in bytes. leapp's longest that were seen have 50 KiB.
pub(super) const REPORT_BYTES: usize = 2 << 20;

/// What is there of a file, compared with what was there before the step: no clock is asked. A controller that comes later
/// finds that in the folder of the question that was put then, which begins with the name of the attempt's; where even that
/// is gone, the file has to be newer than the script. What was written before the step has to be newer than the hop.
const FETCH: &str = r#"
seen=absent
if [ -e "$f" ]; then
    seen=$(stat -L -c '%i %y %z %s' "$f" 2>/dev/null || stat -L -f '%i %Fm %Fc %z' "$f" 2>/dev/null || ls -ilL "$f")
fi
if [ "$before" = '?' ]; then
    printf 'before %s\n%s\n' "$seen" "$f"
    exit 0
fi
if [ "$seen" = absent ]; then echo absent; exit 0; fi
if [ ! -f "$f" ] || [ ! -r "$f" ]; then echo closed; exit 0; fi
fresh=
newer() {
    for mark in "$@"; do
        if [ -n "$(find -H "$f" -newer "$mark" 2>/dev/null)" ]; then fresh=yes; return; fi
    done
}
place=${0%/*}
place=${place%.report.*}
if [ "$since" = hop ]; then
    hop=${place##*/}
    newer "${place%/*}/${hop%%.*}".*/script
elif [ -n "$before" ]; then
    if [ "$before" != "$seen" ]; then fresh=yes; fi
else
    known=
    for one in "$place".report.*/out; do
        { read -r word old && read -r of; } 2>/dev/null <"$one" || continue
        if [ "$word" = before ] && [ "$of" = "$f" ]; then known=$old; fi
    done
    if [ -z "$known" ]; then
        newer "$place/script"
    elif [ "$known" != "$seen" ]; then
        fresh=yes
    fi
fi
if [ -z "$fresh" ]; then echo old; exit 0; fi
size=$(($(wc -c < "$f")))
if [ "$size" -gt "$most" ]; then echo cut; else echo whole; fi
head -c "$most" "$f"
"#;

impl Lane {
    /// Asks what is there before the step. Of what was begun that was asked then.
    pub(super) async fn before_report(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        planned: &PlanStep,
        work: &mut Work,
    ) -> Result<(), Stop> {
        let Some(reads) = planned.reads.filter(|_| !order.begun) else { return Ok(()) };
        if age(reads) == Age::Hop {
            return Ok(());
        }
        for path in reports(reads, rendered) {
            let output = self.report(order, rendered, reads, &path, "?", work).await?;
            let said = output.stdout();
            let seen = said.lines().next().and_then(|line| line.strip_prefix("before "));
            work.before.push(seen.unwrap_or_default().to_owned());
        }
        Ok(())
    }

    /// Reads the report of a step that has run, and weighs it with the exit code. An error where it says that the step has
    /// failed.
    pub(super) async fn heard(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        planned: &PlanStep,
        exit: Option<i32>,
        work: &mut Work,
    ) -> Result<bool, Stop> {
        let (Some(reads), Some(exit)) = (planned.reads, exit) else { return Ok(false) };
        let files =
            self.fetch_report(order, rendered, reads, work).await.map_err(after_the_fact)?;
        let shared = Arc::clone(&self.shared);
        let hop = &shared.plan.hops[usize::from(planned.id.hop)];
        let said = Said {
            exit,
            passes: rendered.expect.is_some() || planned.ok_exit.contains(&exit),
            out: &work.said[0],
            err: &work.said[1],
            files: &files,
            to: hop.to.as_ref(),
        };
        let now = shared.clock.wall();
        let Heard { findings, failure, evidence } =
            hear(&shared.plan, self.host, order.step, reads, &said, now);
        work.findings = findings;
        if let Some(evidence) = evidence {
            work.tail = evidence;
        }
        match failure {
            Some(failure) => Err(Ending::Failed(failure)),
            None => Ok(true),
        }
    }

    /// Reads the report of a step that ran and has no exit code of its own, since it was ended or its end was not seen: what it
    /// has found until then is worth most now. That there is none, or that it cannot be fetched, changes nothing.
    pub(super) async fn heard_until_then(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        planned: &PlanStep,
        stop: &Stop,
        work: &mut Work,
    ) {
        let Some(reads) = planned.reads.filter(|_| has_run(stop)) else { return };
        // A host that cannot be reached now was waited for long enough.
        let tail = std::mem::take(&mut work.tail);
        let files = match self.connected(Instant::now()).await {
            Ok(_) => self.fetch_report(order, rendered, reads, work).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        work.tail = tail;
        let shared = Arc::clone(&self.shared);
        let said = Said {
            // It has none of its own, and has not ended well.
            exit: 1,
            passes: false,
            out: &work.said[0],
            err: &work.said[1],
            files: &files,
            to: shared.plan.hops[usize::from(planned.id.hop)].to.as_ref(),
        };
        let now = shared.clock.wall();
        work.findings = hear_until_then(&shared.plan, self.host, order.step, reads, &said, now);
    }

    /// Every file of a report.
    async fn fetch_report(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reads: Reads,
        work: &mut Work,
    ) -> Result<Vec<ReportFile>, Stop> {
        let mut files = Vec::new();
        for (number, path) in reports(reads, rendered).into_iter().enumerate() {
            let before = work.before.get(number).cloned().unwrap_or_default();
            let output = self.report(order, rendered, reads, &path, &before, work).await?;
            files.push(ReportFile { path, content: content(&output.stdout()) });
        }
        Ok(files)
    }

    /// One file of a report, behind a line that says what is there.
    async fn report(
        &mut self,
        order: &Order,
        rendered: &Rendered,
        reads: Reads,
        path: &str,
        before: &str,
        work: &mut Work,
    ) -> Result<Output, Stop> {
        let word = |text: &str| shlex::try_quote(text).map(|word| word.into_owned());
        let (Ok(path_word), Ok(before)) = (word(path), word(before)) else {
            return Err(super::lane::unverified("report", "its path has a NUL in it".to_owned()));
        };
        let since = match age(reads) {
            Age::Attempt => "attempt",
            Age::Hop => "hop",
        };
        let head = format!("f={path_word} since={since} before={before} most={REPORT_BYTES}");
        let text: Arc<str> = Arc::from(format!("{head}\n{FETCH}"));
        let (exit, output) = self.ask(order, rendered, &text, Part::Report, work).await?;
        match exit {
            Exit::Code(0) => Ok(output),
            Exit::Code(_) | Exit::Signal(_) | Exit::TimedOut { .. } => {
                let reason = format!("{path} could not be fetched: {}", output.evidence());
                Err(super::lane::unverified("report", reason))
            }
        }
    }
}

/// Whether a step that ended so has been at work, and has no exit code by which its report could be weighed.
fn has_run(stop: &Stop) -> bool {
    match stop {
        Ending::Failed(
            Failure::TimedOut { .. } | Failure::Lost { .. } | Failure::Killed { .. },
        ) => true,
        Ending::Failed(
            Failure::Unreachable { .. }
            | Failure::Refused { .. }
            | Failure::Exited { .. }
            | Failure::Unverified { .. }
            | Failure::Reboot(_),
        )
        | Ending::Passed { .. }
        | Ending::Skipped(_) => false,
    }
}

/// Where the report lies: what the step says, or where it usually is.
fn reports(reads: Reads, rendered: &Rendered) -> Vec<String> {
    match &rendered.report {
        Some(path) => vec![path.to_string()],
        None => paths(reads).iter().map(|path| (*path).to_owned()).collect(),
    }
}

fn content(said: &str) -> Content {
    let (head, text) = said.split_once('\n').unwrap_or((said, ""));
    match head {
        "absent" => Content::Absent,
        "closed" => Content::Closed,
        "whole" => Content::Whole(text.to_owned()),
        "cut" => Content::Cut(text.to_owned()),
        _ => Content::Old,
    }
}
