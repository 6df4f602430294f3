//! The first screen: what happened, what is still to do, and the run itself.

use super::Content;
use crate::{
    base::text::fold_names,
    journal::Verdict,
    report::{
        build::{in_order, millis},
        document::{
            Block, Chart, CountBar, Document, Figure, Section, Span, Spans, code, sentence, text,
        },
        model::RunStanding,
        state::{State, Tone},
    },
};

/// Hosts beyond this number are counted, not named, in the list of what is to do.
const NAMED_HOSTS_BYTES_MAX: usize = 160;

impl Content<'_> {
    pub(super) fn head(&self) -> Document {
        let report = self.report;
        let counts = in_order(&report.summary.counts);
        let labelled = counts.into_iter().map(|(state, hosts)| CountBar {
            state,
            label: self.state_label(state),
            hosts,
            number: self.words.number(hosts),
        });
        Document {
            title: self.words.say("head.title", &[("title", &report.run.title)]),
            subtitle: self.subtitle(),
            verdict: self.verdict(),
            lead: self.lead(),
            todo_title: self.words.get("head.todo").to_owned(),
            todo: self.todo(),
            figures: self.figures(),
            counts: Chart::Counts {
                label: self.words.get("chart.counts").to_owned(),
                counts: labelled.collect(),
            },
            contents_title: self.words.get("head.contents").to_owned(),
            sections: Vec::new(),
            footer: self.footer(),
        }
    }

    fn subtitle(&self) -> String {
        let run = &self.report.run;
        let Some(started) = run.started else {
            return self.words.say("head.not_begun", &[("run", &run.id)]);
        };
        let from = self.words.time(started);
        let key = if run.ended.is_some() { "head.period" } else { "head.so_far" };
        let to = run.ended.or(run.as_of).map(|at| self.words.time(at)).unwrap_or_default();
        self.words.say(key, &[("run", &run.id), ("from", &from), ("to", &to)])
    }

    pub(in crate::report) fn verdict(&self) -> (String, Tone) {
        let (key, tone) = match (self.report.summary.verdict, self.report.run.state) {
            (Some(Verdict::Completed), _) => ("verdict.completed", Tone::Good),
            (Some(Verdict::Incomplete), _) => ("verdict.incomplete", Tone::Warn),
            (None, RunStanding::Paused) => ("verdict.paused", Tone::Warn),
            (None, RunStanding::Running | RunStanding::Finished) => ("verdict.running", Tone::Busy),
        };
        (self.words.get(key).to_owned(), tone)
    }

    /// What happened, in one sentence.
    pub(in crate::report) fn lead(&self) -> String {
        let summary = &self.report.summary;
        let target = match &self.report.run.target {
            Some(system) => system.to_string(),
            None => self.words.get("value.target").to_owned(),
        };
        let rest = self.rest_in_words();
        let reason = self.report.run.pauses.last().map(|p| p.reason.clone()).unwrap_or_default();
        let key = match (self.report.run.state, summary.hosts == summary.on_target) {
            (RunStanding::Finished, true) if summary.hosts == 1 => "lead.all_one",
            (RunStanding::Finished, true) => "lead.all",
            (RunStanding::Finished, false) => "lead.some",
            (RunStanding::Paused, _) => "lead.paused",
            (RunStanding::Running, _) if summary.on_target == 0 => "lead.running_none",
            (RunStanding::Running, _) => "lead.running",
        };
        self.words.say(
            key,
            &[
                ("n", &self.words.number(summary.on_target)),
                ("hosts", &self.words.number(summary.hosts)),
                ("target", &target),
                ("rest", &rest),
                ("reason", &reason),
            ],
        )
    }

    /// The states of hosts that are not on the target system: `1 rolled back, 2 blocked`.
    fn rest_in_words(&self) -> String {
        let part = |(state, n): (State, usize)| {
            let key = format!("count.{}", state.word());
            self.words.say(&key, &[("n", &self.words.number(n))])
        };
        let counts = in_order(&self.report.summary.counts);
        let parts: Vec<String> =
            counts.into_iter().filter(|(state, _)| !state.is_good()).map(part).collect();
        match parts.split_last() {
            None => String::new(),
            Some((only, [])) => only.clone(),
            Some((last, others)) => {
                let others = others.join(self.words.get("value.list_comma"));
                self.words.say("value.list_and", &[("others", &others), ("last", last)])
            }
        }
    }

    /// What a person has to do now, the most urgent first.
    pub(in crate::report) fn todo(&self) -> Vec<Spans> {
        let order = [
            State::NeedsHands,
            State::Armed,
            State::Unreachable,
            State::Failed,
            State::RolledBack,
            State::Blocked,
            State::Held,
            State::NotStarted,
        ];
        let mut todo: Vec<Spans> = Vec::new();
        for state in order {
            // A run that goes on cares for its armed hosts by itself.
            if state == State::Armed && self.report.run.state == RunStanding::Running {
                continue;
            }
            let hosts: Vec<&str> = self
                .report
                .hosts
                .iter()
                .filter(|host| host.state == state)
                .map(|host| host.name.as_str())
                .collect();
            if !hosts.is_empty() {
                todo.push(self.todo_for(state, &hosts));
            }
        }
        if self.report.run.state == RunStanding::Paused {
            let key = match self.report.summary.counts.contains_key(State::Held.word()) {
                true => "todo.paused_held",
                false => "todo.paused",
            };
            todo.push(sentence(&self.words.say(key, &[("run", &self.report.run.id)])));
        }
        let migrated = self.report.summary.counts.get(State::Migrated.word()).copied().unwrap_or(0);
        if self.report.run.can_commit
            && migrated > 0
            && self.report.run.state == RunStanding::Finished
        {
            let n = self.words.number(migrated);
            todo.push(sentence(
                &self.words.say("todo.commit", &[("n", &n), ("run", &self.report.run.id)]),
            ));
        }
        todo
    }

    fn todo_for(&self, state: State, hosts: &[&str]) -> Spans {
        let folded = fold_names(hosts.iter().copied());
        let n = self.words.number(hosts.len());
        let who = if folded.len() <= NAMED_HOSTS_BYTES_MAX {
            folded
        } else {
            self.words.say("value.hosts", &[("n", &n)])
        };
        let key = format!("todo.{}", state.word());
        let say = self.words.say(&key, &[("n", &n), ("run", &self.report.run.id)]);
        let mut spans =
            vec![Span::State(state, self.state_label(state)), Span::Text(" ".to_owned())];
        spans.push(Span::Strong(who));
        spans.push(Span::Text(". ".to_owned()));
        spans.extend(sentence(&say));
        spans
    }

    fn figures(&self) -> Vec<Figure> {
        let (report, words) = (self.report, self.words);
        let summary = &report.summary;
        let figure = |label: &str, value: String, note: String| Figure {
            label: words.get(label).to_owned(),
            value,
            note,
        };
        let of = words.say("figure.of_hosts", &[("hosts", &words.number(summary.hosts))]);
        let mut figures = vec![figure("figure.on_target", words.number(summary.on_target), of)];
        figures.push(figure(
            "figure.completion",
            words.percent(summary.completion_percent),
            words.get("figure.completion_note").to_owned(),
        ));
        if let (Some(from), Some(to)) = (report.run.started, report.run.ended.or(report.run.as_of))
        {
            let key = if report.run.ended.is_some() {
                "figure.duration_note"
            } else {
                "figure.so_far_note"
            };
            let length = words.length(millis(from, to));
            figures.push(figure("figure.duration", length, words.get(key).to_owned()));
        }
        let bad = |tone: Tone| report.hosts.iter().filter(|host| host.state.tone() == tone).count();
        let (bad, warn) = (bad(Tone::Bad), bad(Tone::Warn));
        let note = words.say(
            "figure.attention_note",
            &[("bad", &words.number(bad)), ("warn", &words.number(warn))],
        );
        figures.push(figure("figure.attention", words.number(bad + warn), note));
        figures
    }

    pub(super) fn run(&self) -> Section {
        let run = &self.report.run;
        let mut facts: Vec<(String, Spans)> = Vec::new();
        let mut fact = |key: &str, value: Spans| {
            facts.push((self.words.get(&format!("fact.{key}")).to_owned(), value));
        };
        let optional = |text_of: &Option<String>| text_of.clone().map_or_else(|| self.dash(), text);
        fact("run", code(run.id.clone()));
        fact(
            "playbook",
            vec![Span::Text(run.title.clone()), Span::Muted(format!(" {}", run.playbook))],
        );
        if let Some(support) = &run.support {
            fact("support", text(support.clone()));
        }
        fact("selection", code(run.selection.clone()));
        fact("plan", code(run.plan.clone()));
        fact("operator", optional(&run.operator));
        fact("controller", optional(&run.controller));
        fact("version", optional(&run.version));
        fact("started", self.time(run.started));
        match run.ended {
            Some(at) => fact("ended", self.time(Some(at))),
            None => fact("as_of", self.time(run.as_of)),
        }
        if let Some(fault) = &run.fault {
            let said = self.words.say("run.fault", &[("fault", fault)]);
            fact("fault", vec![Span::Tone(Tone::Bad, said)]);
        }
        for pause in &run.pauses {
            let until = match pause.resumed {
                Some(at) => self.words.say("value.resumed", &[("at", &self.words.time(at))]),
                None => self.words.get("value.not_resumed").to_owned(),
            };
            let at = self.words.time(pause.at);
            fact(
                "pause",
                vec![
                    Span::Text(format!("{at}: {}", pause.reason)),
                    Span::Muted(format!(" {until}")),
                ],
            );
        }
        for takeover in &run.takeovers {
            let at = self.words.time(takeover.at);
            let by = self.words.say(
                "value.taken_over",
                &[("operator", &takeover.operator), ("controller", &takeover.controller)],
            );
            fact("takeover", text(format!("{at}: {by}")));
        }
        Section { id: "run", title: self.title("run"), blocks: vec![Block::Facts(facts)] }
    }

    fn footer(&self) -> Vec<Spans> {
        let run = &self.report.run;
        let records = self.words.number(run.records);
        let version = run.version.clone().unwrap_or_default();
        vec![
            sentence(&self.words.say("footer.source", &[("records", &records), ("run", &run.id)])),
            sentence(self.words.get("footer.times")),
            sentence(&self.words.say("footer.made", &[("version", &version)])),
        ]
    }
}
