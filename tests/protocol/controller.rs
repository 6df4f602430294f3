//! What the controller does, as `src/engine/{drive,hand_over}.rs` and `src/host/ssh/session.rs` do it.

use crate::{
    model::{
        ATTEMPTS, Ask, At, Beside, Ear, Entry, Exit, Launch, Mode, Process, Request, State,
        Verdict, Word,
    },
    steps::{Bug, Model},
};

impl Model {
    /// What the controller does next by itself. None where it waits for an answer.
    pub fn control(&self, state: &mut State) -> Option<()> {
        let mode = state.controller?;
        let next = match mode {
            Mode::Decides => self.decide(state),
            Mode::HandsOver(attempt) => {
                send(state, attempt, Ask::Launch { whole: true });
                Mode::Waits(attempt)
            }
            Mode::Asks(attempt) => {
                send(state, attempt, Ask::Follow);
                Mode::Follows(attempt)
            }
            // The boot of the facts that were gathered before the step.
            Mode::Compares(attempt) => match state.boot {
                0 => Mode::Knows(attempt, Verdict::Never),
                _ => Mode::Knows(attempt, Verdict::Lost),
            },
            Mode::Knows(attempt, verdict) => {
                state.journal[attempt] = Entry::Ended(verdict);
                Mode::Decides
            }
            Mode::Waits(_) | Mode::Follows(_) | Mode::Stops(..) | Mode::Done => return None,
        };
        state.controller = Some(next);
        Some(())
    }

    fn decide(&self, state: &mut State) -> Mode {
        for attempt in 0..ATTEMPTS {
            match state.journal[attempt] {
                Entry::None => {
                    if self.bug != Some(Bug::IntentLater) {
                        state.journal[attempt] = Entry::Started;
                    }
                    return Mode::HandsOver(attempt);
                }
                // A controller before this one began it.
                Entry::Started if self.bug == Some(Bug::ResumeForgets) => {
                    state.journal[attempt] = Entry::Ended(Verdict::Unreachable);
                }
                Entry::Started => return Mode::Asks(attempt),
                Entry::Ended(verdict) if self.retries(verdict) => {}
                Entry::Ended(_) => return Mode::Done,
            }
        }
        Mode::Done
    }

    fn retries(&self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Never | Verdict::Unreachable => true,
            Verdict::Finished(exit) => exit != Exit::Zero,
            Verdict::TimedOut { stopped } => stopped,
            Verdict::Lost => self.reruns_lost,
            Verdict::Refused => false,
        }
    }

    /// A word arrives.
    pub fn hear(&self, state: &mut State, stopper: bool, word: Word) -> Option<()> {
        let mode = state.controller?;
        let next = match (mode, stopper, word) {
            (Mode::Waits(attempt), false, Word::No) => Mode::Knows(attempt, Verdict::Refused),
            // It may run, or may have been kept from it: the host knows.
            (Mode::Waits(attempt), false, Word::Taken) => match self.bug {
                Some(Bug::LoserIsRefused) => Mode::Knows(attempt, Verdict::Refused),
                _ => Mode::Asks(attempt),
            },
            (Mode::Waits(attempt), false, Word::End(exit))
            | (Mode::Follows(attempt), false, Word::Finished(exit)) => {
                Mode::Knows(attempt, Verdict::Finished(exit))
            }
            (Mode::Follows(attempt), false, Word::Never) => self.never(attempt),
            (Mode::Follows(attempt), false, Word::Lost) => Mode::Knows(attempt, Verdict::Lost),
            (Mode::Stops(attempt, _), true, Word::Stopped(stopped)) => {
                Mode::Knows(attempt, Verdict::TimedOut { stopped })
            }
            (Mode::Stops(attempt, _), true, Word::Never) => self.never(attempt),
            // What the other exchange still says does not matter any more.
            (Mode::Stops(..), false, _) => mode,
            (_, _, _) => return None,
        };
        if next != mode {
            state.hang_up();
        } else {
            state.words.remove(&(stopper, word));
        }
        state.controller = Some(next);
        Some(())
    }

    fn never(&self, attempt: usize) -> Mode {
        match self.bug {
            Some(Bug::BootsNotCompared) => Mode::Knows(attempt, Verdict::Never),
            _ => Mode::Compares(attempt),
        }
    }

    /// The connection ends. `handed`: all was on its way before it did; else only a part, or nothing.
    pub fn lose_connection(&self, state: &mut State, handed: bool) -> Option<()> {
        let mode = state.controller?;
        let next = match mode {
            Mode::HandsOver(attempt) => {
                send(state, attempt, Ask::Launch { whole: handed });
                match (handed, self.bug) {
                    (true, Some(Bug::HandedLate)) => mode,
                    (true, Some(Bug::BreakIsFailure)) => {
                        Mode::Knows(attempt, Verdict::Finished(Exit::Signal))
                    }
                    (true, _) => Mode::Asks(attempt),
                    // Nothing can have begun.
                    (false, _) => mode,
                }
            }
            Mode::Waits(attempt) if self.bug == Some(Bug::BreakIsFailure) => {
                Mode::Knows(attempt, Verdict::Finished(Exit::Signal))
            }
            Mode::Waits(attempt) | Mode::Follows(attempt) | Mode::Stops(attempt, _) => {
                Mode::Asks(attempt)
            }
            Mode::Decides | Mode::Asks(_) | Mode::Compares(_) | Mode::Knows(..) | Mode::Done => {
                return None;
            }
        };
        state.hang_up();
        state.controller = Some(next);
        Some(())
    }

    /// The host ends one of our processes. Where the controller hears it, the channel closes without a result.
    pub fn kill_ours(&self, state: &mut State, process: Process) -> Option<()> {
        let place = state.processes.iter().position(|other| *other == process)?;
        state.processes.remove(place);
        let (Some(Mode::Waits(attempt)), Ear::Open) = (state.controller, process.ear) else {
            return Some(());
        };
        match process.at {
            // It has not said `go`: for the controller nothing has begun.
            At::Launcher {
                next: Launch::Check | Launch::Text | Launch::Boot | Launch::Link,
                ..
            } => {
                state.hang_up();
                state.controller = Some(Mode::Knows(attempt, Verdict::Refused));
                Some(())
            }
            At::Launcher { next: Launch::Begin, .. }
            | At::Core(_)
            | At::Script(_)
            | At::Looker { .. } => self.lose_connection(state, true),
        }
    }

    /// The step's limit is over.
    pub fn time_out(&self, state: &mut State) -> Option<()> {
        let (attempt, beside) = match state.controller? {
            Mode::Waits(attempt) => (attempt, Beside::Launcher),
            Mode::Follows(attempt) => (attempt, Beside::Follower),
            Mode::Decides
            | Mode::HandsOver(_)
            | Mode::Asks(_)
            | Mode::Stops(..)
            | Mode::Compares(_)
            | Mode::Knows(..)
            | Mode::Done => return None,
        };
        send(state, attempt, Ask::Stop);
        state.controller = Some(Mode::Stops(attempt, beside));
        Some(())
    }

    /// No connection opens for so long that it is not waited for any more.
    pub fn give_up(&self, state: &mut State) -> Option<()> {
        let next = match state.controller? {
            Mode::HandsOver(attempt) => Mode::Knows(attempt, Verdict::Unreachable),
            Mode::Asks(attempt) => Mode::Knows(attempt, Verdict::Lost),
            Mode::Compares(attempt) => Mode::Knows(attempt, Verdict::Lost),
            Mode::Decides
            | Mode::Waits(_)
            | Mode::Follows(_)
            | Mode::Stops(..)
            | Mode::Knows(..)
            | Mode::Done => return None,
        };
        state.controller = Some(next);
        Some(())
    }
}

fn send(state: &mut State, attempt: usize, ask: Ask) {
    state.send(Request { attempt, ask, ear: Ear::Open });
}
