//! The dispatcher: one loop owns the state. It takes what happened, records it durably, shows it, decides, and starts
//! what was decided. Everything else sends it messages.

use super::{
    even::EvenClock,
    farewell::Reached,
    lane::{Message, Order, Shared, Word},
    lock::RENEW_EVERY,
    paced::Paced,
    watching::Watcher,
};
use crate::{
    base::{name::HostName, time::Timestamp},
    journal::{Ask, Event, Journal, PauseReason, Record, Request, StoreError, Verdict},
    plan::Plan,
    run::{
        HostPhase, Illegal, RunPhase, RunState, Todo, answered, decide_at, judge, key_taken,
        watched,
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

/// Messages of lanes that wait at most; a lane that finds no room waits for it.
const MESSAGES_MAX: usize = 4096;
/// Words that wait for a lane at most: to renew its lock, and one that matters.
pub(super) const WORDS_MAX: usize = 2;
/// From so many attempts at once on, others will say something within a moment of one that does, and are waited for: a sync
/// for each of them costs the controller more than all else that it does for them.
const MANY: usize = 32;
/// How long they are waited for. It is nothing to a step, and a host says something once for each.
const GATHER: Duration = Duration::from_millis(1);
/// How often observers may redraw.
const TICK: Duration = Duration::from_millis(200);

/// What an operator says to a run that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// No new host starts; those in flight go on to a safe point.
    Stop { by: String },
    /// Leave at once; what runs on hosts goes on.
    Leave,
    /// What another process asks, in the name of an operator.
    Asked(Request),
}

/// Who watches a run.
pub trait Observer: Send {
    /// After a record is durable and taken in.
    fn record(&mut self, record: &Record, state: &RunState, plan: &Plan);
    /// From time to time.
    fn tick(&mut self, now: Timestamp, state: &RunState, plan: &Plan);
}

/// How the loop was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Finished(Verdict),
    Paused(PauseReason),
    /// At once, on the operator's word.
    Left,
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the journal cannot be written; no step is started without it")]
    Journal(#[from] StoreError),
    #[error("the engine decided something illegal; this is a bug")]
    Illegal(#[from] Illegal),
}

/// Drives one run.
pub struct Engine {
    pub(super) shared: Arc<Shared>,
    pub(super) state: RunState,
    pub(super) journal: Box<dyn Journal>,
    /// In the state already, not yet on disk: nothing is shown of these, and nothing is started by them.
    unwritten: Vec<Record>,
    /// Lanes that go on when what was noted is on disk.
    waiting: Vec<oneshot::Sender<()>>,
    /// How to reach the lanes of hosts in flight, by the index of the host.
    pub(super) lanes: BTreeMap<usize, Reached>,
    /// All lanes, also those whose hosts have ended and that still say goodbye. Each returns the host that it has left.
    pub(super) tasks: JoinSet<Option<(usize, u32)>>,
    /// Lanes that say goodbye, or have: a host's next lane waits for the end of its last one.
    pub(super) leaving: BTreeMap<usize, oneshot::Receiver<()>>,
    /// Hosts that have ended, and that an earlier controller did not leave any more.
    pub(super) not_left: Vec<usize>,
    pub(super) messages: (mpsc::Sender<Message>, mpsc::Receiver<Message>),
    control: mpsc::Receiver<Control>,
    observer: Box<dyn Observer>,
    /// When observers last ticked.
    ticked: Timestamp,
    /// When the locks of hosts of which nothing is asked were last renewed.
    renewed: Duration,
    /// What is asked from here while the run goes on.
    watcher: Watcher,
    /// Pauses rather than wait for a window or an approval.
    no_wait: bool,
}

impl Engine {
    /// `state` is that of the journal's records so far.
    pub fn new(
        mut shared: Shared,
        state: RunState,
        journal: impl Journal + 'static,
        control: mpsc::Receiver<Control>,
        observer: Box<dyn Observer>,
    ) -> Self {
        let messages = mpsc::channel(MESSAGES_MAX);
        shared.clock = Arc::new(EvenClock::new(shared.clock, &shared.plan, &state));
        let in_flight = in_flight(&shared.plan, &state);
        shared.transport = Arc::new(Paced::new(shared.transport, in_flight));
        let renewed = shared.clock.steady();
        Self {
            shared: Arc::new(shared),
            state,
            journal: Box::new(journal),
            unwritten: Vec::new(),
            waiting: Vec::new(),
            lanes: BTreeMap::new(),
            tasks: JoinSet::new(),
            leaving: BTreeMap::new(),
            not_left: Vec::new(),
            messages,
            control,
            observer,
            ticked: Timestamp::from_millis(0),
            renewed,
            watcher: Watcher::new(),
            no_wait: false,
        }
    }

    /// Where nothing is left to do now but to wait for a window or an approval, the run pauses.
    #[must_use]
    pub fn no_wait(self, no_wait: bool) -> Self {
        Self { no_wait, ..self }
    }

    /// These hosts have ended, and an earlier controller did not leave them any more: see [`super::not_left`].
    #[must_use]
    pub fn leaving(self, not_left: Vec<usize>) -> Self {
        Self { not_left, ..self }
    }

    /// Goes on until the run is finished, paused or left. `first` is what the run begins or goes on with.
    pub async fn drive(mut self, first: Vec<Event>) -> Result<(Outcome, RunState), EngineError> {
        let driven = self.go_on(first).await;
        match driven {
            Ok(Outcome::Finished(_) | Outcome::Paused(_)) => self.close_lanes().await,
            // At once. The journal's writer ends only after the lanes, also where it was the writer that failed.
            Ok(Outcome::Left) | Err(_) => self.tasks.shutdown().await,
        }
        Ok((driven?, self.state))
    }

    async fn go_on(&mut self, first: Vec<Event>) -> Result<Outcome, EngineError> {
        self.note(first).await?;
        self.write().await?;
        self.take_up_attempts().await;
        self.leave_the_rest();
        loop {
            let wake = self.act_on_decisions().await?;
            match &self.state.phase {
                RunPhase::Finished(verdict) => return Ok(Outcome::Finished(*verdict)),
                RunPhase::Paused(reason) => return Ok(Outcome::Paused(reason.clone())),
                RunPhase::New | RunPhase::Running => {}
            }
            if self.wait(wake).await? {
                return Ok(Outcome::Left);
            }
        }
    }

    /// Waits for something to happen, and notes it. Returns whether the operator leaves.
    async fn wait(&mut self, wake: Option<Timestamp>) -> Result<bool, EngineError> {
        let now = self.shared.clock.now();
        let sleep = wake.map_or(TICK, |at| at.since(now).min(TICK));
        self.watcher.put(&self.shared, watched(&self.shared.plan, &self.state));
        tokio::select! { biased;
            Some(control) = self.control.recv() => match control {
                Control::Leave => return Ok(true),
                Control::Stop { by } if self.state.stopping.is_none() => {
                    self.note(vec![Event::StopRequested { by, request: None }]).await?;
                }
                Control::Stop { .. } => {}
                Control::Asked(request) => return self.asked(request).await,
            },
            // Before what lanes say: a busy fleet always has something to say, and answers are few.
            Some((id, told)) = self.watcher.answer() => {
                // One that nobody asks for any more changes nothing.
                let known = watched(&self.shared.plan, &self.state);
                if known.iter().any(|(watched, _)| *watched == id) {
                    let news = answered(&self.shared.plan, &self.state, &id, told);
                    self.note(news.into_iter().collect()).await?;
                }
            }
            Some(message) = self.messages.1.recv() => {
                if self.state.running >= MANY {
                    tokio::time::sleep(GATHER).await;
                }
                // Whatever else has come in is written with the same sync.
                let mut waiting = vec![message];
                while let Ok(more) = self.messages.1.try_recv() {
                    waiting.push(more);
                }
                self.take_in(waiting).await?;
            }
            () = tokio::time::sleep(sleep) => {}
        }
        // A busy run is shown too: ticks do not wait for a quiet moment.
        let now = self.shared.clock.now();
        if now.since(self.ticked) >= TICK {
            self.ticked = now;
            self.observer.tick(now, &self.state, &self.shared.plan);
        }
        self.renew_locks();
        Ok(false)
    }

    /// Hosts that wait, for a retry or for an operator, stay locked.
    fn renew_locks(&mut self) {
        let now = self.shared.clock.steady();
        if now.saturating_sub(self.renewed) < RENEW_EVERY {
            return;
        }
        self.renewed = now;
        for (host, lane) in &self.lanes {
            if !matches!(self.state.hosts[*host].phase, HostPhase::Running { .. }) {
                // One that has no room has something to do.
                let _ = lane.words.try_send(Word::Renew);
            }
        }
    }

    /// Takes what another process asks: once, however often it comes. Returns whether the operator leaves.
    async fn asked(&mut self, mut asked: Request) -> Result<bool, EngineError> {
        if self.state.requests.contains(&asked.id) {
            return Ok(false);
        }
        match &mut asked.ask {
            Ask::Hold { hosts } | Ask::Release { hosts } => {
                hosts.retain(|host| self.state.host(host).is_some());
            }
            Ask::Decide { approval } => {
                let checked = self.state.check(&self.shared.plan, approval);
                let fits = checked.and_then(|_| approval.statement.check_run(&self.shared.run));
                if let Err(unfit) = fits {
                    // Whoever asks has checked the same: this one did not come from the command.
                    tracing::warn!(id = %asked.id, %unfit, "an approval does not count");
                    return Ok(false);
                }
            }
            Ask::Stop | Ask::Leave | Ask::Tune { .. } => {}
        }
        let leaves = asked.ask == Ask::Leave;
        self.note(vec![asked.event()]).await?;
        if leaves {
            self.write().await?;
        }
        Ok(leaves)
    }

    /// Decides until there is nothing more to do now. Returns when to decide again. What happened, what follows from it and
    /// what is to be started for it go to disk with one sync.
    async fn act_on_decisions(&mut self) -> Result<Option<Timestamp>, EngineError> {
        loop {
            let (now, wall) = (self.shared.clock.now(), self.shared.clock.wall());
            let decision = decide_at(&self.shared.plan, &self.state, now, wall);
            if decision.todo.is_empty() {
                if self.no_wait
                    && let Some(reason) = decision.waits_outside()
                {
                    self.note(vec![Event::RunPaused { reason }]).await?;
                }
                self.write().await?;
                return Ok(decision.wake);
            }
            let (mut events, mut starts) = (Vec::new(), Vec::new());
            for todo in decision.todo {
                match todo {
                    Todo::Record(event) => events.push(event),
                    Todo::Attempt { host, step, attempt } => {
                        events.push(Event::AttemptStarted {
                            host: self.shared.plan.hosts[host].name.clone(),
                            step: self.shared.plan.steps[step].id.clone(),
                            attempt,
                        });
                        starts.push((host, step, attempt));
                    }
                }
            }
            self.note(events).await?;
            if starts.is_empty() {
                continue;
            }
            // Intent is on disk before the first byte leaves for a host.
            self.write().await?;
            for (host, step, attempt) in starts {
                self.start(host, step, attempt, false).await;
            }
        }
    }

    async fn start(&mut self, host: usize, step: usize, attempt: u32, begun: bool) {
        let at = &self.state.hosts[host];
        let order = Order::new(&self.shared.run, at, step, attempt, begun, self.state.resumes);
        if !self.lanes.contains_key(&host) {
            let mut lane = self.lane_for(host);
            // What an earlier controller did there is not in this lane, and has to be given back all the same.
            if order.epoch > 0 && (begun || attempt > 1 || at.attempts.len() > 1) {
                lane.remember(&order, at);
            }
            let reached = self.send_out(lane);
            self.lanes.insert(host, reached);
        }
        if let Some(lane) = self.lanes.get(&host) {
            // A lane ends only when its orders do, and has at most one of them.
            let _ = lane.words.send(Word::Do(Box::new(order))).await;
        }
    }

    async fn take_in(&mut self, messages: Vec<Message>) -> Result<(), EngineError> {
        let now = self.shared.clock.now();
        let plan = Arc::clone(&self.shared.plan);
        for message in messages {
            let events = match message {
                Message::Done { host, result } => judge(&plan, &self.state, host, &result, now),
                Message::Dark { host, boot_id, recorded } => {
                    self.waiting.push(recorded);
                    vec![Event::HostDark { host: plan.hosts[host].name.clone(), boot_id }]
                }
                Message::Returned { host, boot_id, dark, system } => {
                    let dark_ms = u64::try_from(dark.as_millis()).unwrap_or(u64::MAX);
                    let host = plan.hosts[host].name.clone();
                    vec![Event::HostReturned { host, boot_id, dark_ms, system }]
                }
                Message::KeyTaken { host, key, recorded } => {
                    self.waiting.push(recorded);
                    key_taken(&plan, &self.state, host, key)
                }
            };
            // Before the next is judged: two names for one machine may come in together.
            self.note(events).await?;
        }
        Ok(())
    }

    /// Checks events against the state and takes them in.
    async fn note(&mut self, events: Vec<Event>) -> Result<(), EngineError> {
        let at = self.shared.clock.now();
        for event in events {
            let record = Record { seq: self.state.next_seq, at, event };
            if let Err(illegal) = self.state.apply(&self.shared.plan, &record) {
                // What came before it has happened, and must not be lost with it.
                self.write().await?;
                return Err(illegal.into());
            }
            self.unwritten.push(record);
        }
        Ok(())
    }

    /// Makes what was noted durable, and shows it.
    async fn write(&mut self) -> Result<(), EngineError> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let records: Arc<[Record]> = std::mem::take(&mut self.unwritten).into();
        self.journal.append(Arc::clone(&records)).await?;
        for lane in std::mem::take(&mut self.waiting) {
            // A lane that has gone away needs no word.
            let _ = lane.send(());
        }
        while let Some(lane) = self.tasks.try_join_next() {
            self.said_goodbye(lane);
        }
        for record in records.iter() {
            self.observer.record(record, &self.state, &self.shared.plan);
            self.say_goodbye(&record.event);
        }
        self.leave_the_rest();
        Ok(())
    }

    /// Attempts that another controller left behind: their hosts are asked what became of them.
    async fn take_up_attempts(&mut self) {
        let running: Vec<(usize, usize, u32)> = self
            .state
            .hosts
            .iter()
            .enumerate()
            .filter_map(|(host, at)| match at.phase {
                HostPhase::Running { step, attempt } => Some((host, step, attempt)),
                HostPhase::Pending
                | HostPhase::Idle
                | HostPhase::Waiting { .. }
                | HostPhase::Resting { .. }
                | HostPhase::Ended(_) => None,
            })
            .collect();
        for (host, step, attempt) in running {
            self.start(host, step, attempt, true).await;
        }
    }
}

/// Hosts that an earlier controller was at work on.
fn in_flight(plan: &Plan, state: &RunState) -> Vec<HostName> {
    let hosts = plan.hosts.iter().zip(&state.hosts);
    hosts
        .filter(|(_, at)| match at.phase {
            HostPhase::Idle
            | HostPhase::Running { .. }
            | HostPhase::Waiting { .. }
            | HostPhase::Resting { .. } => true,
            HostPhase::Pending | HostPhase::Ended(_) => false,
        })
        .map(|(host, _)| host.name.clone())
        .collect()
}
