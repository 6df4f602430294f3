//! Every host: where it ended, how long it took, and the boots that prove it.

use super::Content;
use crate::report::{
    document::{Block, Section, Span, Spans, Table, code, text},
    model::{Boot, HostReport, HostSystem},
    state::State,
};

/// A state with more hosts than this is folded away at first.
const OPEN_HOSTS_MAX: usize = 60;

/// A table with more rows than this offers a filter.
const FILTER_ROWS_MIN: usize = 15;

/// The first characters of a boot id tell the boots of one host apart.
const BOOT_ID_CHARS: usize = 8;

impl Content<'_> {
    pub(super) fn hosts(&self) -> Option<Section> {
        if self.report.hosts.is_empty() {
            return None;
        }
        let mut blocks = Vec::new();
        // What asks for a person comes first.
        for state in State::ALL.into_iter().rev() {
            let hosts: Vec<&HostReport> =
                self.report.hosts.iter().filter(|host| host.state == state).collect();
            if hosts.is_empty() {
                continue;
            }
            let n = self.words.number(hosts.len());
            let mut summary = self.state(state);
            let count = self.words.say("value.hosts", &[("n", &n)]);
            summary.push(Span::Text(format!(" {count}")));
            let open = hosts.len() <= OPEN_HOSTS_MAX;
            blocks.push(Block::Fold {
                summary,
                open,
                blocks: vec![Block::Table(self.host_table(&hosts))],
            });
        }
        Some(Section { id: "hosts", title: self.title("hosts"), blocks })
    }

    fn host_table(&self, hosts: &[&HostReport]) -> Table {
        let mut table = Table::new(vec![
            self.column("host"),
            self.column("batch"),
            self.column("touched"),
            self.column("started"),
            self.numeric("took"),
            self.numeric("dark"),
            self.numeric("retries"),
            self.column("before"),
            self.column("after"),
        ]);
        // A host on its target has nothing to explain.
        if hosts.iter().any(|host| !host.state.is_good()) {
            table.head.push(self.wide("why"));
        }
        table.long = hosts.len() > FILTER_ROWS_MIN;
        for host in hosts {
            table.push(self.host_row(host));
        }
        table
    }

    fn host_row(&self, host: &HostReport) -> Vec<Spans> {
        let system = |of: &Option<HostSystem>| {
            let system = of.as_ref().and_then(|of| of.system.as_ref());
            system.map_or_else(|| self.dash(), |system| text(system.to_string()))
        };
        let why = match (&host.failure, &host.held_by, &host.at_step) {
            (Some(failure), _, _) => text(self.failure(failure)),
            (None, Some(by), _) => text(self.words.say("value.held_by", &[("by", by)])),
            (None, None, Some(step)) if !host.state.is_good() => text(self.step(step)),
            (None, None, _) => self.dash(),
        };
        let mut name = text(host.name.clone());
        if host.armed && host.state != State::Armed {
            name.push(Span::State(State::Armed, self.state_label(State::Armed)));
        }
        vec![
            name,
            text(host.wave.clone()),
            self.yes_no(host.touched),
            self.time(host.started),
            self.length(host.duration_ms),
            self.length((host.dark_ms > 0).then_some(host.dark_ms)),
            self.number_or_dash(host.retries as usize),
            system(&host.before),
            system(&host.after),
            why,
        ]
    }

    pub(super) fn boots(&self) -> Option<Section> {
        let hosts: Vec<&HostReport> =
            self.report.hosts.iter().filter(|host| !host.boots.is_empty()).collect();
        if hosts.is_empty() {
            return None;
        }
        let mut table = Table::new(vec![self.column("host"), self.wide("boots")]);
        table.long = hosts.len() > FILTER_ROWS_MIN;
        for host in &hosts {
            let mut chain = Vec::new();
            for (i, boot) in host.boots.iter().enumerate() {
                if i > 0 {
                    chain.push(Span::Text(" → ".to_owned()));
                }
                chain.extend(self.boot(boot));
            }
            table.push(vec![text(host.name.clone()), chain]);
        }
        let n = self.words.number(hosts.len());
        let summary = text(self.words.say("value.hosts", &[("n", &n)]));
        let open = hosts.len() <= OPEN_HOSTS_MAX;
        let blocks = vec![
            Block::Note(self.words.get("note.boots").to_owned()),
            Block::Fold { summary, open, blocks: vec![Block::Table(table)] },
        ];
        Some(Section { id: "boots", title: self.title("boots"), blocks })
    }

    pub(in crate::report) fn boot(&self, boot: &Boot) -> Spans {
        let mut spans = code(boot.boot_id.chars().take(BOOT_ID_CHARS).collect::<String>());
        if let Some(system) = &boot.system {
            spans.push(Span::Text(format!(" {system}")));
        }
        if let Some(dark) = boot.dark_ms {
            let length = self.words.length(dark);
            spans.push(Span::Muted(format!(
                " {}",
                self.words.say("value.after_dark", &[("length", &length)])
            )));
        }
        if boot.unexpected {
            spans.push(Span::Strong(format!(" {}", self.words.get("value.unexpected"))));
        }
        spans
    }
}
