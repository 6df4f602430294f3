//! Questions that are put from here again and again while a run goes on: the health of waves, and interrupts.
//!
//! A question that cannot be put, takes too long, or is answered by what nobody understands has an answer of its own: it is
//! never taken for a good one.

use super::{
    controller::LocalScript,
    lane::Shared,
    prometheus::{query_url, told_by},
};
use crate::{
    base::text::shorten,
    host::{Exit, OutputSink, Stream},
    journal::{Told, WatchId},
    rollout::{Question, Watch},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::mpsc, task::JoinSet};

/// Answers that wait for the loop at most.
const ANSWERS_MAX: usize = 64;
/// So much of each output stream is looked at.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Columns of what an answer said, in a record.
const SAID_MAX: usize = 200;
/// What a shell says of a command that it cannot run, or cannot find.
const CANNOT_RUN: [i32; 2] = [126, 127];

/// A question with its answer.
type Answered = (WatchId, Told);

/// Puts the questions of a run, each no more often than the rollout says.
pub struct Watcher {
    /// When each was last put, by the steady clock, and whether its answer is still to come.
    put: BTreeMap<WatchId, (Duration, bool)>,
    tasks: JoinSet<()>,
    answers: (mpsc::Sender<Answered>, mpsc::Receiver<Answered>),
}

impl Watcher {
    pub fn new() -> Self {
        Self { put: BTreeMap::new(), tasks: JoinSet::new(), answers: mpsc::channel(ANSWERS_MAX) }
    }

    /// Puts those that are due.
    pub fn put(&mut self, shared: &Arc<Shared>, watched: Vec<(WatchId, &Watch)>) {
        let now = shared.clock.steady();
        while self.tasks.try_join_next().is_some() {}
        for (id, watch) in watched {
            match self.put.get(&id) {
                Some((_, true)) => continue,
                Some((last, false)) if now.saturating_sub(*last) < watch.every => continue,
                Some((_, false)) | None => {}
            }
            self.put.insert(id.clone(), (now, true));
            let (shared, watch) = (Arc::clone(shared), watch.clone());
            let answers = self.answers.0.clone();
            self.tasks.spawn(async move {
                let told = ask(&shared, &id, &watch).await;
                // A run that has ended needs no answer.
                let _ = answers.send((id, told)).await;
            });
        }
    }

    /// The next answer, whenever it comes.
    pub async fn answer(&mut self) -> Option<Answered> {
        let (id, told) = self.answers.1.recv().await?;
        if let Some((_, is_out)) = self.put.get_mut(&id) {
            *is_out = false;
        }
        Some((id, told))
    }
}

async fn ask(shared: &Shared, id: &WatchId, watch: &Watch) -> Told {
    let limit = watch.timeout;
    let told = match &watch.ask {
        Question::IsWell { run, expect } => {
            is_well(shared, &script(shared, id, run, limit).await, expect.as_deref())
        }
        Question::Holds { run } => holds(&script(shared, id, run, limit).await),
        Question::Prometheus { server, query } => {
            told_by(shared.controller.get(&query_url(server, query), limit).await)
        }
    };
    let safe = |text: String| {
        let text = shared.secrets.redactor().redact(&text);
        shorten(text.trim(), SAID_MAX).into_owned()
    };
    match told {
        Told::Well => Told::Well,
        Told::Bad { said } => Told::Bad { said: safe(said) },
        Told::Unclear { reason } => Told::Unclear { reason: safe(reason) },
    }
}

/// What came of a script: its exit code with what it printed, or why it has none.
type Ran = Result<(i32, Heard), String>;

async fn script(shared: &Shared, id: &WatchId, text: &str, timeout: Duration) -> Ran {
    let env = [("FLEETLIFT_RUN", shared.run.to_string()), ("FLEETLIFT_WATCH", id.to_string())];
    let env = env.map(|(name, value)| (name.to_owned(), value)).into();
    let script = LocalScript { text: text.to_owned(), env, timeout };
    let mut heard = Heard::default();
    match shared.controller.run(&script, &mut heard).await {
        Ok(Exit::Code(code)) if CANNOT_RUN.contains(&code) => {
            Err(format!("it cannot be run, {}", heard.exit(code)))
        }
        Ok(Exit::Code(code)) => Ok((code, heard)),
        Ok(Exit::Signal(signal)) => Err(format!("it was killed by {signal}")),
        Ok(Exit::TimedOut { .. }) => Err(no_answer(timeout)),
        Err(error) => Err(format!("it cannot be run: {error}")),
    }
}

/// Why nothing is known where nothing came in time.
pub(super) fn no_answer(limit: Duration) -> String {
    format!("no answer within {}", crate::base::time::format_length(limit))
}

fn is_well(shared: &Shared, ran: &Ran, expect: Option<&str>) -> Told {
    let (code, heard) = match ran {
        Ok(ran) => ran,
        Err(reason) => return Told::Unclear { reason: reason.clone() },
    };
    if *code != 0 {
        return Told::Bad { said: heard.exit(*code) };
    }
    let Some(expect) = expect else { return Told::Well };
    let (stdout, stderr) = (heard.text(Stream::Out), heard.text(Stream::Err));
    let said = stdout.lines().next().unwrap_or_default().to_owned();
    let context = minijinja::context! { stdout, stderr, exit => code };
    match shared.templates.holds(expect, &context) {
        Ok(true) => Told::Well,
        Ok(false) => Told::Bad { said: format!("it said `{said}`, which is not {expect}") },
        Err(error) => {
            Told::Unclear { reason: format!("it said `{said}`, which is not understood: {error}") }
        }
    }
}

fn holds(ran: &Ran) -> Told {
    match ran {
        Ok((0, heard)) => match heard.last_line() {
            line if line.is_empty() => Told::Bad { said: "the condition holds".to_owned() },
            line => Told::Bad { said: line },
        },
        Ok((1, _)) => Told::Well,
        Ok((code, heard)) => {
            Told::Unclear { reason: format!("neither yes nor no: {}", heard.exit(*code)) }
        }
        Err(reason) => Told::Unclear { reason: reason.clone() },
    }
}

/// The beginning of what a script printed.
#[derive(Debug, Default)]
struct Heard {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl OutputSink for Heard {
    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let kept = match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        };
        let room = OUTPUT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Heard {
    fn text(&self, stream: Stream) -> String {
        let bytes = match stream {
            Stream::Out => &self.out,
            Stream::Err => &self.err,
        };
        // As a shell's `$(…)`, and as steps see what they print.
        String::from_utf8_lossy(bytes).trim_end_matches(['\n', '\r']).to_owned()
    }

    /// An exit code, with what was said about it.
    fn exit(&self, code: i32) -> String {
        match self.last_line() {
            line if line.is_empty() => format!("exit code {code}"),
            line => format!("exit code {code}: {line}"),
        }
    }

    /// The last line that says something: of the errors, where there are any.
    fn last_line(&self) -> String {
        let lines = [self.text(Stream::Err), self.text(Stream::Out)];
        let last = |text: &String| text.lines().rfind(|l| !l.trim().is_empty()).map(str::to_owned);
        lines.iter().find_map(last).unwrap_or_default()
    }
}
