//! Failure domains: who is away in each, and which hosts may start without making it too many.
//!
//! Hosts of a wave that are in the same domains are in one *line*: they may start or must wait together. So a decision asks
//! lines and not hosts, and a host that starts or ends changes only the lines of its own domains.

use crate::{journal::Domain, plan::Plan, rollout::AtMost};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter::Peekable,
    sync::Arc,
};

/// Which host is in which domain and line: as the plan has it, for good.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Index {
    domains: Vec<Domain>,
    /// How many hosts of the plan each domain has, and how many of each wave.
    sizes: Vec<usize>,
    sizes_in: BTreeMap<(usize, usize), usize>,
    /// By host: its domains.
    of_host: Vec<Vec<usize>>,
    /// By host: its line.
    line_of: Vec<usize>,
    lines: Vec<Line>,
    /// By domain: lines that it limits.
    lines_in: Vec<Vec<usize>>,
}

/// Hosts of one wave that are in the same domains.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    wave: usize,
    /// Its domains, and how many hosts of each may be away.
    limits: BTreeMap<usize, usize>,
}

/// Who is away, and who may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domains {
    index: Arc<Index>,
    /// By domain: hosts that are away, or may be.
    away: Vec<BTreeSet<usize>>,
    /// By domain: hosts that may be down. Of those that are away it is only these that keep others from going back.
    down: Vec<BTreeSet<usize>>,
    /// By line: hosts that would take a slot now.
    ready: Vec<BTreeSet<usize>>,
    /// By line: in how many of its domains nobody more may be away.
    full: Vec<usize>,
    /// By wave: lines that may start a host, by their first one.
    open: Vec<BTreeSet<(usize, usize)>>,
}

impl Index {
    fn new(plan: &Plan) -> Self {
        let mut index = Self::default();
        let asked = asked_for(plan);
        let mut numbers: BTreeMap<Domain, usize> = BTreeMap::new();
        let mut lines: BTreeMap<(usize, Vec<usize>), usize> = BTreeMap::new();
        for host in &plan.hosts {
            let mut own = Vec::new();
            for (label, value) in &host.labels {
                if !asked.contains(label.as_str()) {
                    continue;
                }
                let domain = Domain { label: label.clone(), value: value.clone() };
                let number = *numbers.entry(domain.clone()).or_insert_with(|| {
                    index.domains.push(domain);
                    index.sizes.push(0);
                    index.domains.len() - 1
                });
                index.sizes[number] += 1;
                *index.sizes_in.entry((number, host.wave)).or_default() += 1;
                own.push(number);
            }
            own.sort_unstable();
            let line = *lines.entry((host.wave, own.clone())).or_insert_with(|| {
                let limits = limits(plan, host.wave, &own, &index.domains);
                index.lines.push(Line { wave: host.wave, limits });
                index.lines.len() - 1
            });
            index.line_of.push(line);
            index.of_host.push(own);
        }
        index.lines_in = vec![Vec::new(); index.domains.len()];
        for (number, line) in index.lines.iter().enumerate() {
            for domain in line.limits.keys() {
                index.lines_in[*domain].push(number);
            }
        }
        index
    }

    pub(super) fn domain(&self, number: usize) -> &Domain {
        &self.domains[number]
    }

    /// How many hosts of the plan are in a domain, or how many of a wave.
    pub(super) fn size(&self, domain: usize, wave: Option<usize>) -> usize {
        match wave {
            None => self.sizes[domain],
            Some(wave) => self.sizes_in.get(&(domain, wave)).copied().unwrap_or(0),
        }
    }
}

/// The labels that any limit asks for.
fn asked_for(plan: &Plan) -> BTreeSet<&str> {
    let of_waves = plan.waves.iter().flat_map(|wave| &wave.at_most);
    let budgets = plan.waves.iter().filter_map(|wave| wave.budget.as_ref());
    let budgets = budgets.chain([&plan.limits.budget]).flat_map(|budget| budget.per.keys());
    let limits = plan.limits.at_most.iter().chain(of_waves).map(|limit| &limit.per);
    limits.chain(budgets).map(String::as_str).collect()
}

/// How many hosts of each of these domains may be away when a host of this wave starts. The smaller of two limits holds.
fn limits(plan: &Plan, wave: usize, own: &[usize], domains: &[Domain]) -> BTreeMap<usize, usize> {
    let at_most = || plan.limits.at_most.iter().chain(&plan.waves[wave].at_most);
    let limit = |number: usize| {
        let of = |limit: &&AtMost| limit.per == domains[number].label;
        at_most().filter(of).map(|limit| limit.hosts as usize).min()
    };
    own.iter().filter_map(|number| Some((*number, limit(*number)?))).collect()
}

impl Domains {
    pub(super) fn new(plan: &Plan) -> Self {
        let index = Index::new(plan);
        let mut domains = Self {
            away: vec![BTreeSet::new(); index.domains.len()],
            down: vec![BTreeSet::new(); index.domains.len()],
            ready: vec![BTreeSet::new(); index.lines.len()],
            full: vec![0; index.lines.len()],
            open: vec![BTreeSet::new(); plan.waves.len()],
            index: Arc::new(index),
        };
        for host in 0..plan.hosts.len() {
            domains.set_ready(host, true);
        }
        domains
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// The domains of a host.
    pub(super) fn of(&self, host: usize) -> &[usize] {
        &self.index.of_host[host]
    }

    /// A host would take a slot now, or would not.
    pub(super) fn set_ready(&mut self, host: usize, is_ready: bool) {
        let line = self.index.line_of[host];
        let first = self.ready[line].first().copied();
        match is_ready {
            true => self.ready[line].insert(host),
            false => self.ready[line].remove(&host),
        };
        if self.full[line] == 0 && self.ready[line].first().copied() != first {
            self.list(line, first, true);
        }
    }

    /// A host is away, or is not.
    pub(super) fn set_away(&mut self, host: usize, is_away: bool) {
        let index = Arc::clone(&self.index);
        for domain in &index.of_host[host] {
            let before = self.away[*domain].len();
            match is_away {
                true => self.away[*domain].insert(host),
                false => self.away[*domain].remove(&host),
            };
            let now = self.away[*domain].len();
            if now == before {
                continue;
            }
            for line in &index.lines_in[*domain] {
                let limit = index.lines[*line].limits.get(domain).copied().unwrap_or(usize::MAX);
                match (before >= limit, now >= limit) {
                    (false, true) => self.full[*line] += 1,
                    (true, false) => self.full[*line] -= 1,
                    (true, true) | (false, false) => continue,
                }
                let first = self.ready[*line].first().copied();
                self.list(*line, first, self.full[*line] == 0);
            }
        }
    }

    /// A host may be down, or is not.
    pub(super) fn set_down(&mut self, host: usize, is_down: bool) {
        for domain in &self.index.of_host[host] {
            match is_down {
                true => self.down[*domain].insert(host),
                false => self.down[*domain].remove(&host),
            };
        }
    }

    /// Whether a host may go back: in none of its domains so many may be down already.
    pub(super) fn may_go_back(&self, host: usize, taken: &Taken) -> bool {
        let line = &self.index.lines[self.index.line_of[host]];
        line.limits
            .iter()
            .all(|(domain, limit)| self.down[*domain].len() + taken.in_domain(*domain) < *limit)
    }

    /// Puts a line into the list of its wave, or takes it out: it stood there by this host.
    fn list(&mut self, line: usize, stood_by: Option<usize>, is_open: bool) {
        let open = &mut self.open[self.index.lines[line].wave];
        if let Some(host) = stood_by {
            open.remove(&(host, line));
        }
        if let Some(host) = self.ready[line].first().filter(|_| is_open) {
            open.insert((*host, line));
        }
    }

    /// The hosts of a wave that may start, one after the other, in the plan's order.
    pub(super) fn queue(&self, wave: usize) -> Queue<'_> {
        let open = self.open[wave].iter().copied().peekable();
        Queue { domains: self, open, again: BTreeSet::new() }
    }

    /// Why this host of a wave must wait: a domain of it, and who is away there.
    pub(super) fn blocks(
        &self,
        host: usize,
        taken: &Taken,
    ) -> Option<(&Domain, impl Iterator<Item = usize>)> {
        let line = &self.index.lines[self.index.line_of[host]];
        let is_full = |(domain, limit): &(&usize, &usize)| {
            self.away[**domain].len() + taken.in_domain(**domain) >= **limit
        };
        let (domain, _) = line.limits.iter().find(is_full)?;
        Some((&self.index.domains[*domain], self.away[*domain].iter().copied()))
    }
}

/// Places in domains that the present decision has given away.
#[derive(Debug, Default)]
pub(super) struct Taken(BTreeMap<usize, usize>);

impl Taken {
    fn in_domain(&self, domain: usize) -> usize {
        self.0.get(&domain).copied().unwrap_or(0)
    }

    pub fn take(&mut self, domains: &Domains, host: usize) {
        for domain in domains.of(host) {
            *self.0.entry(*domain).or_default() += 1;
        }
    }
}

/// Goes through the hosts of a wave that may start.
pub(super) struct Queue<'d> {
    domains: &'d Domains,
    open: Peekable<std::iter::Copied<std::collections::btree_set::Iter<'d, (usize, usize)>>>,
    /// Lines that have given a host already, by their next one.
    again: BTreeSet<(usize, usize)>,
}

impl Queue<'_> {
    /// The next host that may start beside those that were taken.
    pub fn next(&mut self, taken: &Taken) -> Option<usize> {
        loop {
            let fresh = self.open.peek().copied();
            let again = self.again.first().copied();
            let (host, line) = match (fresh, again) {
                (Some(fresh), Some(again)) => fresh.min(again),
                (fresh, again) => fresh.or(again)?,
            };
            match fresh == Some((host, line)) {
                true => drop(self.open.next()),
                false => drop(self.again.pop_first()),
            }
            // A line that does not fit now does not fit again within one decision: in it places are only taken.
            if self.domains.blocks(host, taken).is_none() {
                let next = self.domains.ready[line].range(host + 1..).next();
                self.again.extend(next.map(|next| (*next, line)));
                return Some(host);
            }
        }
    }
}
