//! The model as the checker sees it: what may happen next, what must always hold, and the bugs that can be planted in it.

use crate::model::{
    ATTEMPTS, Ask, At, Entry, Exit, Faults, Mode, Name, Process, Request, Script, State, Verdict,
    Word,
};
use stateright::Property;

/// One mistake that somebody could make in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The launcher looks whether the name is free, then writes it, in place of one `ln`.
    NameByCheck,
    /// A look says `never` and takes no name.
    LookTakesNothing,
    StopTakesNothing,
    /// Who loses the race for the name takes the script for begun.
    LoserGuesses,
    /// `boot` is written after the name was taken.
    BootAfterName,
    /// A launcher empties `died` although another one may have the name.
    DiedEmptied,
    /// A script that did not arrive whole is taken.
    SizeNotChecked,
    /// An `exit` that is there and still empty is read as zero.
    EmptyIsZero,
    /// A process that is gone means `lost`, without another look for its result.
    NoLastLook,
    /// A process id is believed without the time of its birth.
    PidAlone,
    /// The journal hears of an attempt only when it has ended.
    IntentLater,
    /// A resumed controller takes what was begun for not begun.
    ResumeForgets,
    /// The end of a connection is taken for the end of the step.
    BreakIsFailure,
    /// A script counts as handed over only when the library says that all is sent.
    HandedLate,
    /// `never` is believed although the host has lost power since, and what was not on its disk.
    BootsNotCompared,
    /// Who finds a name taken takes that for the host's refusal.
    LoserIsRefused,
    /// A script needs no second name: who waits too long for its number takes it for lost.
    NoSecondName,
    /// The script looks whether its second name is free, then writes it.
    SecondNameByCheck,
}

pub struct Model {
    pub bug: Option<Bug>,
    pub faults: Faults,
    /// What waits on the host for a process id or a result waits long enough.
    pub is_patient: bool,
    /// `on_lost = "rerun"`, and the phases that only read.
    pub reruns_lost: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Controller(Mode),
    Hear(bool, Word),
    Deliver(Request),
    DeliverTwice(Request),
    Operate(Process),
    End(Process, Exit, bool),
    KillOurs(Process),
    ConnectionEnds { handed: bool },
    LimitIsOver,
    GivesUp,
    ControllerDies,
    Resumes,
    DiskIsWritten,
    Reboots,
    PowerIsCut { hollow: bool },
}

/// What must hold, by name.
type Law = (&'static str, fn(&State) -> bool);

/// What must hold in every state.
pub const ALWAYS: [Law; 9] = [
    ("a script begins at most once in an attempt", |s| s.truth.begun.iter().all(|n| *n <= 1)),
    ("only whole scripts begin", |s| !s.truth.half),
    ("nothing begins that the journal does not know", |s| {
        (0..ATTEMPTS).all(|a| s.truth.begun[a] == 0 || s.journal[a] != Entry::None)
    }),
    ("what is recorded as not begun has not begun, and never begins", |s| {
        (0..ATTEMPTS).all(|a| match s.journal[a] {
            Entry::Ended(Verdict::Never | Verdict::Refused | Verdict::Unreachable) => {
                s.truth.begun[a] == 0
            }
            Entry::Ended(_) | Entry::Started | Entry::None => true,
        })
    }),
    ("what is recorded as finished ended so", |s| {
        (0..ATTEMPTS).all(|a| match s.journal[a] {
            Entry::Ended(Verdict::Finished(exit)) => s.truth.ended[a] == Some(exit),
            Entry::Ended(_) | Entry::Started | Entry::None => true,
        })
    }),
    ("no two attempts run at one time", |s| !s.truth.overlapped),
    ("a host says lost only of what began, left no result, and is gone", |s| !s.truth.false_lost),
    ("nobody else's process is ended", |s| !s.truth.foreign_killed),
    ("a name that we took ourselves is not the host's refusal", |s| {
        (0..ATTEMPTS).all(|a| {
            s.journal[a] != Entry::Ended(Verdict::Refused) || s.files[a].name != Name::Never
        })
    }),
];

impl Model {
    pub fn new(faults: Faults) -> Self {
        Self { bug: None, faults, is_patient: true, reruns_lost: true }
    }
}

impl stateright::Model for Model {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self.faults)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let faults = &state.faults;
        actions.extend(state.controller.map(Action::Controller));
        actions.extend(state.words.iter().map(|(stopper, word)| Action::Hear(*stopper, *word)));
        for request in &state.requests {
            actions.push(Action::Deliver(*request));
            if faults.copies > 0 && matches!(request.ask, Ask::Launch { .. }) {
                actions.push(Action::DeliverTwice(*request));
            }
        }
        for process in &state.processes {
            match process.at {
                At::Script(Script::Runs) => {
                    actions.push(Action::End(*process, Exit::Zero, false));
                    actions.push(Action::End(*process, Exit::Signal, false));
                    actions.push(Action::End(*process, Exit::Signal, true));
                }
                At::Launcher { .. }
                | At::Core(_)
                | At::Script(Script::Pid | Script::Began | Script::Overwrites)
                | At::Looker { .. } => {
                    actions.push(Action::Operate(*process));
                }
            }
            if faults.kills > 0 && matches!(process.at, At::Launcher { .. } | At::Core(_)) {
                actions.push(Action::KillOurs(*process));
            }
        }
        if faults.breaks > 0 {
            actions.push(Action::ConnectionEnds { handed: true });
            actions.push(Action::ConnectionEnds { handed: false });
        }
        if faults.timeouts > 0 {
            actions.push(Action::LimitIsOver);
        }
        if faults.silences > 0 {
            actions.push(Action::GivesUp);
        }
        match state.controller {
            None => actions.push(Action::Resumes),
            Some(_) if faults.crashes > 0 => actions.push(Action::ControllerDies),
            Some(_) => {}
        }
        if faults.reboots > 0 {
            actions.push(Action::Reboots);
        }
        if faults.power > 0 {
            if state.disk != state.files {
                actions.push(Action::DiskIsWritten);
            }
            actions.push(Action::PowerIsCut { hollow: false });
            actions.push(Action::PowerIsCut { hollow: true });
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        let faults = &mut next.faults;
        match action {
            Action::Controller(_) => self.control(&mut next)?,
            Action::Hear(stopper, word) => self.hear(&mut next, stopper, word)?,
            Action::Deliver(request) => {
                let place = next.requests.iter().position(|other| *other == request)?;
                next.requests.remove(place);
                self.deliver(&mut next, request);
            }
            Action::DeliverTwice(request) => {
                faults.copies -= 1;
                self.deliver(&mut next, request);
            }
            Action::Operate(process) => self.operate(&mut next, process)?,
            Action::End(process, exit, reused) => self.end_script(&mut next, process, exit, reused),
            Action::KillOurs(process) => {
                faults.kills -= 1;
                self.kill_ours(&mut next, process)?;
            }
            Action::ConnectionEnds { handed } => {
                faults.breaks -= 1;
                // Only what is being sent can be cut in two.
                if !handed && !matches!(next.controller, Some(Mode::HandsOver(_))) {
                    return None;
                }
                self.lose_connection(&mut next, handed)?;
            }
            Action::LimitIsOver => {
                faults.timeouts -= 1;
                self.time_out(&mut next)?;
            }
            Action::GivesUp => {
                faults.silences -= 1;
                self.give_up(&mut next)?;
            }
            Action::ControllerDies => {
                faults.crashes -= 1;
                next.hang_up();
                next.controller = None;
            }
            Action::Resumes => next.controller = Some(Mode::Decides),
            Action::DiskIsWritten => next.disk = next.files,
            Action::Reboots => {
                faults.reboots -= 1;
                self.lose_connection(&mut next, true);
                next.reboot();
            }
            Action::PowerIsCut { hollow } => {
                faults.power -= 1;
                self.lose_connection(&mut next, true);
                next.cut_power(hollow);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // The checker takes plain functions: one for each place in the table.
        macro_rules! always {
            ($($n:literal),*) => {
                vec![$(Property::always(ALWAYS[$n].0, |_, state| ALWAYS[$n].1(state))),*]
            };
        }
        always!(0, 1, 2, 3, 4, 5, 6, 7, 8)
    }
}
