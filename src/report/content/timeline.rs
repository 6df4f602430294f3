//! The timeline: which host was in what, when.

use super::Content;
use crate::{
    base::time::Timestamp,
    report::{
        build::millis,
        document::{Bar, Block, Chart, Load, Section, Timeline, TimelineRow, text},
        model::{HostReport, SegmentKind},
    },
};

/// Hosts with a row each. A larger fleet is drawn as the number of hosts in each phase.
const ROWS_MAX: usize = 60;

/// Slices of time of a large fleet's picture.
const SLICES: u64 = 160;

/// Steps between ticks that people count in, in seconds.
const STEPS_S: [u64; 18] = [
    1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800,
    2_592_000,
];

const TICKS_MAX: u64 = 9;

impl Content<'_> {
    pub(super) fn timeline(&self) -> Option<Section> {
        let begun: Vec<&HostReport> =
            self.report.hosts.iter().filter(|host| !host.segments.is_empty()).collect();
        let from = begun.iter().filter_map(|host| host.segments.first()).map(|s| s.from).min()?;
        let last = |host: &&HostReport| {
            host.segments.last().map(|segment| segment.to.or(self.report.run.as_of).unwrap_or(from))
        };
        let to = begun.iter().filter_map(last).max()?;
        let mut blocks = Vec::new();
        if begun.len() > ROWS_MAX {
            blocks.push(Block::Chart(Chart::Load(self.load(&begun, from, to))));
            blocks.push(Block::Note(self.words.get("note.load").to_owned()));
            let told = |host: &&&HostReport| !host.state.is_good();
            let rest: Vec<&HostReport> =
                begun.iter().filter(told).copied().take(ROWS_MAX).collect();
            if !rest.is_empty() {
                blocks.push(Block::Heading(text(self.words.get("section.timeline_rest"))));
                let rows = self.rows(&rest, from, to);
                blocks.push(Block::Chart(Chart::Timeline(rows)));
            }
        } else {
            let rows = self.rows(&begun, from, to);
            blocks.push(Block::Chart(Chart::Timeline(rows)));
        }
        blocks.push(Block::Note(self.words.get("note.timeline").to_owned()));
        Some(Section { id: "timeline", title: self.title("timeline"), blocks })
    }

    fn kind(&self, kind: SegmentKind) -> String {
        self.words.get(&format!("segment.{}", kind.as_str())).to_owned()
    }

    fn rows(&self, hosts: &[&HostReport], from: Timestamp, to: Timestamp) -> Timeline {
        let row = |host: &&HostReport| TimelineRow {
            length: {
                let first = host.segments.first().map_or(from, |segment| segment.from);
                let last = host.segments.last().and_then(|segment| segment.to).unwrap_or(to);
                self.words.length(millis(first, last))
            },
            host: host.name.clone(),
            state: host.state,
            state_label: self.state_label(host.state),
            bars: host
                .segments
                .iter()
                .map(|segment| {
                    let end = segment.to.unwrap_or(to);
                    let length = self.words.length(millis(segment.from, end));
                    let title = format!("{} {length}", self.kind(segment.kind));
                    Bar { kind: segment.kind.as_str(), from: segment.from, to: end, title }
                })
                .collect(),
        };
        Timeline {
            label: self.words.get("chart.timeline").to_owned(),
            from,
            to,
            rows: hosts.iter().map(row).collect(),
            ticks: self.ticks(from, to),
            legend: self.legend(hosts),
        }
    }

    fn legend(&self, hosts: &[&HostReport]) -> Vec<(&'static str, String)> {
        SegmentKind::ALL
            .into_iter()
            .filter(|kind| hosts.iter().any(|h| h.segments.iter().any(|s| s.kind == *kind)))
            .map(|kind| (kind.as_str(), self.kind(kind)))
            .collect()
    }

    fn load(&self, hosts: &[&HostReport], from: Timestamp, to: Timestamp) -> Load {
        let legend = self.legend(hosts);
        let width = (millis(from, to) / SLICES).max(1);
        let mut slices = vec![vec![0; legend.len()]; SLICES as usize];
        for segment in hosts.iter().flat_map(|host| &host.segments) {
            let Some(kind) = legend.iter().position(|(kind, _)| *kind == segment.kind.as_str())
            else {
                continue;
            };
            // A host counts in a slice where it is so at the slice's middle.
            let first = (millis(from, segment.from) + width / 2) / width;
            let last = (millis(from, segment.to.unwrap_or(to)) + width / 2) / width;
            for slice in first..last.min(SLICES) {
                slices[slice as usize][kind] += 1;
            }
        }
        let peak = slices.iter().map(|slice| slice.iter().sum::<usize>()).max().unwrap_or(0);
        let highest = self.words.say("value.hosts", &[("n", &self.words.number(peak))]);
        let (label, ticks) = (self.words.get("chart.load").to_owned(), self.ticks(from, to));
        Load { label, from, to, slices, highest, ticks, legend }
    }

    /// Round points in time, few enough to be read.
    fn ticks(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, String)> {
        let whole = millis(from, to);
        let step = STEPS_S.iter().map(|s| s * 1000).find(|step| whole / step < TICKS_MAX);
        let Some(step) = step.and_then(|step| i64::try_from(step).ok()) else { return Vec::new() };
        let mut at = from.as_millis().div_euclid(step) * step + step;
        let mut ticks = Vec::new();
        while at < to.as_millis() {
            let time = Timestamp::from_millis(at);
            ticks.push((time, self.words.tick(time, step)));
            at += step;
        }
        ticks
    }
}
