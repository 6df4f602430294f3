//! What outlives a controller: the hosts, the disk with the journal, the oracle that watches both; and the clock.

use crate::{
    chance::Chance,
    host::{Cause, Host, Sentence},
    oracle::Oracle,
    scenario::Scenario,
};
use fleetlift::{
    base::{
        name::HostName,
        time::{Clock, Timestamp},
    },
    journal::{Journal, Record, StoreError},
    run::RunState,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// The simulated day begins here.
const MORNING: i64 = 1_795_252_502_120;
/// So much real bookkeeping a busy disk needs for a sync, in milliseconds.
const SYNC_MS: u64 = 20;

/// When a controller dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Before the so-manyth write of records is durable: they are lost.
    Before(u64),
    /// After it is durable, and before anybody acts on it.
    After(u64),
    /// At the so-manyth thing that it asks of the network.
    Call(u64),
    /// So many milliseconds after it has begun.
    At(u64),
}

/// Everything that is shared.
pub struct World {
    pub scenario: Scenario,
    pub hosts: BTreeMap<String, Host>,
    pub oracle: Oracle,
    /// The journal: what is on the disk, as text.
    pub lines: Vec<String>,
    /// What a reader sees who has read all that is on the disk.
    pub reader: RunState,
    /// Which hosts were left, beside the records.
    pub left: BTreeSet<(HostName, u32)>,
    pub wrong: Vec<String>,
    /// What is still to kill the present controller.
    pub crash: Option<Crash>,
    /// Writes and calls of the present controller.
    pub writes: u64,
    pub calls: u64,
    /// All draws for connections and calls so far, by host.
    pub draws: BTreeMap<String, u64>,
    pub last_record: u64,
    /// Who kept a script's result until its connection was there.
    pub traced: bool,
    pub told: Vec<(u64, String)>,
}

/// A handle to the world.
#[derive(Clone)]
pub struct Sim {
    world: Arc<Mutex<World>>,
    pub start: Instant,
    /// The present controller is to die now; or something is wrong and all is to end.
    pub end_of_controller: Arc<Notify>,
}

impl Sim {
    pub fn new(scenario: &Scenario, traced: bool) -> Self {
        let mut hosts = BTreeMap::new();
        let plan = &scenario.plan;
        let mut last = None;
        for planned in &plan.hosts {
            let name = planned.name.as_str();
            let own = format!("machine-of-{name}");
            let twin = scenario.chance(&format!("{name}/twin")).permille(8);
            let machine = match last.filter(|_| twin && !scenario.trouble.pure) {
                Some(other) => other,
                None => own.clone(),
            };
            hosts.insert(name.to_owned(), Host::new(scenario, name, machine, traced));
            last = Some(own);
        }
        let world = World {
            scenario: scenario.clone(),
            hosts,
            oracle: Oracle::new(scenario),
            lines: Vec::new(),
            reader: RunState::new(plan),
            left: BTreeSet::new(),
            wrong: Vec::new(),
            crash: None,
            writes: 0,
            calls: 0,
            draws: BTreeMap::new(),
            last_record: 0,
            traced,
            told: Vec::new(),
        };
        Self {
            world: Arc::new(Mutex::new(world)),
            start: Instant::now(),
            end_of_controller: Arc::new(Notify::new()),
        }
    }

    pub fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// A host, as it is now.
    pub fn on<T>(&self, name: &str, what: impl FnOnce(&mut Host, u64) -> T) -> T {
        let now = self.now();
        let mut world = self.world();
        let world = &mut *world;
        let host = world.hosts.get_mut(name).unwrap();
        host.advance(now);
        let said = what(host, now);
        world.wrong.append(&mut host.wrong);
        said
    }

    pub async fn until(&self, at: u64) {
        sleep_until(self.start + Duration::from_millis(at)).await;
    }

    pub async fn pause(&self, ms: u64) {
        self.until(self.now() + ms).await;
    }

    /// The next stream of chance for something that a host's network does.
    pub fn draw(&self, host: &str, what: &str) -> Chance {
        let mut world = self.world();
        let n = world.draws.entry(host.to_owned()).or_default();
        *n += 1;
        let n = *n;
        world.scenario.chance(&format!("{host}/{what}/{n}"))
    }

    /// A place where a controller may die.
    pub async fn call(&self) {
        let dies = {
            let mut world = self.world();
            world.calls += 1;
            world.crash == Some(Crash::Call(world.calls))
        };
        if dies {
            self.die().await;
        }
    }

    /// The present controller does nothing any more.
    async fn die(&self) {
        self.end_of_controller.notify_one();
        std::future::pending::<()>().await;
    }

    /// The attempt that is open in the journal when a script is sent to a host; it must be there before the first byte.
    pub fn cause(&self, host: &str, sentence: &Sentence, dir: &str) -> Cause {
        let mut world = self.world();
        let cause = world.oracle.cause(host, sentence, dir);
        cause.unwrap_or_else(|wrong| {
            world.wrong.push(wrong);
            Cause { step: "none".to_owned(), attempt: 0 }
        })
    }

    /// What is durable, read back from its text.
    pub fn records(&self) -> Vec<Record> {
        let world = self.world();
        world.lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl World {
    /// Takes records onto the disk: as text, which the oracle and the reader read back.
    fn keep(&mut self, records: &[Record], now: u64) {
        self.last_record = now;
        for record in records {
            let line = serde_json::to_string(record).unwrap();
            let read: Record = match serde_json::from_str(&line) {
                Ok(read) => read,
                Err(error) => {
                    self.wrong.push(format!("{line} cannot be read back: {error}"));
                    continue;
                }
            };
            if read != *record {
                self.wrong.push(format!("{line} is read back as another record"));
            }
            if self.traced {
                self.told.push((now, line.clone()));
            }
            self.lines.push(line);
            if let Err(illegal) = self.reader.apply(&self.scenario.plan, &read) {
                self.wrong.push(format!("a reader refuses {illegal}"));
            }
            let host = read.event.host().and_then(|name| self.hosts.get_mut(name.as_str()));
            if let Some(host) = host {
                host.advance(now);
                self.wrong.append(&mut host.wrong);
            }
            self.oracle.take(&read, &self.hosts, &mut self.wrong);
        }
    }
}

/// The journal: its records are durable after a while, or lost with their controller.
pub struct Disk(pub Sim);

impl Journal for Disk {
    fn append(
        &self,
        records: Arc<[Record]>,
    ) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + '_>> {
        let sim = &self.0;
        Box::pin(async move {
            let (write, crash, mut chance) = {
                let mut world = sim.world();
                world.writes += 1;
                let chance = world.scenario.chance(&format!("sync/{}", world.lines.len()));
                (world.writes, world.crash, chance)
            };
            sim.pause(chance.between(0, SYNC_MS)).await;
            if crash == Some(Crash::Before(write)) {
                sim.die().await;
            }
            sim.world().keep(&records, sim.now());
            if !sim.world().wrong.is_empty() || crash == Some(Crash::After(write)) {
                sim.die().await;
            }
            sim.pause(chance.between(0, 2)).await;
            Ok(())
        })
    }

    fn left(&self, host: &HostName, reopened: u32) {
        let mut world = self.0.world();
        if !world.oracle.has_ended(host.as_str(), reopened) {
            world.wrong.push(format!("{host} is noted as left after end {reopened}, before it"));
        }
        world.left.insert((host.clone(), reopened));
    }
}

/// The simulated time, and how far the controller's own clock is from it.
pub struct SimClock {
    pub sim: Sim,
    pub ahead_ms: i64,
    /// When somebody sets it, and how far.
    pub set: Option<(u64, i64)>,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let now = self.sim.now();
        let set = self.set.filter(|(at, _)| *at <= now).map_or(0, |(_, far)| far);
        Timestamp::from_millis(MORNING + self.ahead_ms + set + now as i64)
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.sim.now())
    }
}
