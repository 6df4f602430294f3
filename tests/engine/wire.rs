//! Connections and clocks that misbehave, in paused time.

use crate::{
    stage::{Driver, MORNING, Ran, Stage, lenient},
    support::plans::{hop, plan, playbook, step},
};
use fleetlift::{
    base::{
        name::HostName,
        phase::Phase,
        time::{Clock, Timestamp},
    },
    engine::Outcome,
    host::{
        BoxFuture, ConnectError, Exit, OutputSink, Script, Session, SessionError, Stream, Target,
        Time, Transport, Whereabouts,
    },
    journal::{Contact, Event, Record, Verdict},
    playbook::Step,
    rollout::Rollout,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until};

/// A network that is away at times, in seconds since the start. Steps go on without it.
struct Net {
    start: Instant,
    away: Vec<(u64, u64)>,
    /// How long a step called `work` takes.
    work: Duration,
    /// All steps begin together, and then the network goes away for so long.
    together: Option<(tokio::sync::Barrier, Duration)>,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    connects: Vec<(HostName, Instant)>,
    /// When a step was begun, by its folder.
    begun: BTreeMap<String, Instant>,
    /// When all connections were lost together.
    lost: Option<Instant>,
}

impl Net {
    fn new(away: &[(u64, u64)], work: Duration) -> Arc<Self> {
        let log = Mutex::new(Log::default());
        Arc::new(Self { start: Instant::now(), away: away.to_vec(), work, together: None, log })
    }

    /// All hosts lose their connection at one instant, for so long, when all their steps have begun.
    fn lost_together(hosts: usize, away: Duration, work: Duration) -> Arc<Self> {
        let together = Some((tokio::sync::Barrier::new(hosts), away));
        let log = Mutex::new(Log::default());
        Arc::new(Self { start: Instant::now(), away: Vec::new(), work, together, log })
    }

    /// When the network goes away next, or now where it is away.
    fn next_cut(&self) -> Option<Instant> {
        let seconds = |s: u64| self.start + Duration::from_secs(s);
        let next = self.away.iter().find(|(_, back)| seconds(*back) > Instant::now());
        next.map(|(from, _)| seconds(*from).max(Instant::now()))
    }

    fn is_away(&self) -> bool {
        if let (Some(lost), Some((_, away))) = (self.log.lock().unwrap().lost, &self.together) {
            return Instant::now() < lost + *away;
        }
        self.next_cut().is_some_and(|cut| cut <= Instant::now())
    }

    /// Waits for the step's end. False where the connection was cut before.
    async fn watch(&self, end: Instant) -> bool {
        match self.next_cut() {
            Some(cut) if cut < end => {
                sleep_until(cut).await;
                false
            }
            Some(_) | None => {
                sleep_until(end).await;
                true
            }
        }
    }
}

struct Wire(Arc<Net>);

impl Transport for Wire {
    fn connect<'a>(
        &'a self,
        target: &'a Target,
    ) -> BoxFuture<'a, Result<Box<dyn Session>, ConnectError>> {
        Box::pin(async move {
            self.0.log.lock().unwrap().connects.push((target.host.clone(), Instant::now()));
            sleep(Duration::from_millis(50)).await;
            if self.0.is_away() {
                return Err(ConnectError::Unreachable {
                    contact: Contact::NoAnswer,
                    reason: "no answer".into(),
                });
            }
            let (net, host) = (Arc::clone(&self.0), target.host.clone());
            Ok(Box::new(Connected { net, host }) as Box<dyn Session>)
        })
    }
}

struct Connected {
    net: Arc<Net>,
    host: HostName,
}

impl Session for Connected {
    fn run<'a>(
        &'a mut self,
        script: &'a Script,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Exit, SessionError>> {
        Box::pin(async move {
            if self.net.is_away() {
                return Err(SessionError::NotStarted { reason: "dead".into() });
            }
            if script.text.contains("# fleetlift-facts") {
                let facts = format!(
                    "machine_id=id-of-{}\nboot_id=00000000-0000-4000-8000-000000000001\nuid=0\n\
                     [os-release\nID=old\nVERSION_ID=1\n]\n",
                    self.host
                );
                output.take(Stream::Out, facts.as_bytes());
                return Ok(Exit::Code(0));
            }
            if script.text.contains("fails") {
                return Ok(Exit::Code(1));
            }
            let now = Instant::now();
            let twice = self.net.log.lock().unwrap().begun.insert(script.dir.clone(), now);
            assert!(twice.is_none(), "{} ran twice", script.dir);
            if let Some((begun, _)) = &self.net.together {
                begun.wait().await;
                let mut log = self.net.log.lock().unwrap();
                log.lost = Some(Instant::now());
                log.begun.insert(script.dir.clone(), Instant::now());
                return Err(SessionError::Lost { reason: "cut".into() });
            }
            if self.net.watch(now + self.net.work).await {
                return Ok(Exit::Code(0));
            }
            Err(SessionError::Lost { reason: "cut".into() })
        })
    }

    fn follow<'a>(
        &'a mut self,
        dir: &'a str,
        _: bool,
        _: [u64; 2],
        _: Time,
        _: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Whereabouts, SessionError>> {
        Box::pin(async move {
            let begun = self.net.log.lock().unwrap().begun.get(dir).copied();
            let Some(begun) = begun else { return Ok(Whereabouts::Never) };
            if self.net.watch(begun + self.net.work).await {
                return Ok(Whereabouts::Finished(Exit::Code(0)));
            }
            Err(SessionError::NotStarted { reason: "cut".into() })
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

/// The time of day of a machine on which somebody sets the clock.
struct SetClock {
    start: Instant,
    /// By how much it is wrong now, in milliseconds.
    wrong: AtomicI64,
}

const HOUR: i64 = 3_600_000;

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        let gone = i64::try_from(self.start.elapsed().as_millis()).unwrap();
        Timestamp::from_millis(MORNING.as_millis() + gone + self.wrong.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Runs one migrate step on so many hosts. The clock is set by `(second, by so many milliseconds)`.
fn run(
    hosts: usize,
    step: Step,
    net: impl FnOnce() -> Arc<Net>,
    sets: &'static [(u64, i64)],
) -> (Ran, Arc<Net>) {
    let names: Vec<String> = (0..hosts).map(|n| format!("h-{n:04}")).collect();
    let playbook = playbook(vec![hop("wire", None, None, [(Phase::Migrate, vec![step])])]);
    let rollout = Rollout { parallel: 10_000, ..lenient() };
    let stage = Stage::new(plan(&names, &playbook, &rollout));
    let mut kept = None;
    let ran = stage.drive(|| {
        let net = kept.insert(net());
        let clock = Arc::new(SetClock { start: Instant::now(), wrong: AtomicI64::new(0) });
        let setter = Arc::clone(&clock);
        tokio::spawn(async move {
            for (second, by) in sets {
                sleep_until(setter.start + Duration::from_secs(*second)).await;
                setter.wrong.fetch_add(*by, Ordering::SeqCst);
            }
        });
        Driver { clock: Some(clock), ..Driver::of(Wire(Arc::clone(net))) }
    });
    (ran.unwrap(), kept.unwrap())
}

fn long(limit: u64) -> Step {
    Step { timeout: Duration::from_secs(limit), ..step("work", "work") }
}

#[test]
fn a_step_is_followed_through_one_outage_after_the_other() {
    // Each outage alone is shorter than the patience with a host; hours lie between them.
    let away = [(60, 100), (7200, 7290), (14_400, 14_440), (20_000, 20_500)];
    let work = Duration::from_secs(30_000);
    let (ran, net) = run(1, long(36_000), || Net::new(&away, work), &[]);
    assert_eq!(ran.outcome, Outcome::Finished(Verdict::Completed), "{:?}", ran.records);
    assert!(net.log.lock().unwrap().connects.len() > 4);
}

#[test]
fn a_host_that_never_comes_back_is_given_up_in_the_end() {
    let (ran, _) =
        run(1, long(3600), || Net::new(&[(60, u64::MAX >> 20)], Duration::from_secs(600)), &[]);
    assert_eq!(ran.outcome, Outcome::Finished(Verdict::Incomplete));
    assert!(ran.took < Duration::from_secs(3600), "{:?}", ran.took);
}

#[test]
fn a_thousand_hosts_that_are_lost_at_once_do_not_come_back_at_once() {
    let (away, work) = (Duration::from_secs(15), Duration::from_secs(300));
    let (ran, net) = run(1000, long(3600), || Net::lost_together(1000, away, work), &[]);
    assert_eq!(ran.outcome, Outcome::Finished(Verdict::Completed));
    let log = net.log.lock().unwrap();
    let again: Vec<Instant> =
        log.connects.iter().map(|(_, at)| *at).filter(|at| Some(*at) >= log.lost).collect();
    assert!(again.len() >= 1000, "{}", again.len());
    // The fullest second, wherever it begins.
    let within = |from: &Instant| {
        again.iter().filter(|at| *at >= from && **at < *from + Duration::from_secs(1)).count()
    };
    let fullest = again.iter().map(within).max().unwrap();
    assert!((50..=101).contains(&fullest), "{fullest} connections within a second");
}

#[test]
fn the_first_connections_are_as_fast_as_the_rollout_wants_them() {
    let (ran, net) = run(1000, long(3600), || Net::new(&[], Duration::from_secs(1)), &[]);
    assert_eq!(ran.outcome, Outcome::Finished(Verdict::Completed));
    let log = net.log.lock().unwrap();
    let first = log.connects.iter().map(|(_, at)| *at - net.start).max().unwrap();
    assert!(first < Duration::from_secs(3), "{first:?}");
}

/// How long the attempts took, by the journal.
fn durations(records: &[Record]) -> Vec<u64> {
    let of = |record: &Record| match &record.event {
        Event::AttemptPassed { duration_ms, step, .. }
        | Event::AttemptFailed { duration_ms, step, .. }
            if step.step.as_str() == "work" =>
        {
            Some(*duration_ms)
        }
        _ => None,
    };
    records.iter().filter_map(of).collect()
}

#[test]
fn a_clock_that_is_set_makes_no_retry_late_and_no_duration_wrong() {
    let cases: [&'static [(u64, i64)]; 4] =
        [&[], &[(5, -HOUR)], &[(5, HOUR)], &[(2, HOUR), (5, -2 * HOUR), (8, HOUR)]];
    for sets in cases {
        // Fails three times, with ten seconds between the tries.
        let fails =
            Step { retries: 2, retry_delay: Duration::from_secs(10), ..step("work", "fails") };
        let (ran, _) = run(1, fails, || Net::new(&[], Duration::ZERO), sets);
        assert_eq!(ran.outcome, Outcome::Finished(Verdict::Incomplete), "{sets:?}");
        let found = durations(&ran.records);
        assert_eq!(found.len(), 3, "{sets:?}: {found:?}");
        assert!(found.iter().all(|ms| *ms < 1000), "{sets:?}: {found:?}");
        assert!(ran.took < Duration::from_secs(30), "{sets:?}: {:?}", ran.took);
        let times: Vec<_> = ran.records.iter().map(|record| record.at).collect();
        assert!(times.is_sorted(), "{sets:?}: {times:?}");

        let (ran, _) = run(1, long(3600), || Net::new(&[], Duration::from_secs(20)), sets);
        assert_eq!(ran.outcome, Outcome::Finished(Verdict::Completed), "{sets:?}");
        let found = durations(&ran.records);
        assert!(found.iter().all(|ms| (20_000..21_000).contains(ms)), "{sets:?}: {found:?}");
    }
}
