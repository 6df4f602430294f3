//! What the host's processes do, one file operation at a time, in the order of `src/host/ssh/remote/*.sh`.

use crate::{
    model::{
        ATTEMPTS, Ask, At, Core, Ear, Exit, Launch, Look, Name, Process, Request, Result, Script,
        State, Word,
    },
    steps::{Bug, Model},
};

impl Model {
    /// A request reaches the host: a process begins.
    pub fn deliver(&self, state: &mut State, request: Request) {
        let Request { attempt, ask, ear } = request;
        let at = match ask {
            Ask::Launch { whole } => At::Launcher { next: Launch::Check, whole },
            Ask::Follow => At::Looker { next: Look::Name, stops: false },
            Ask::Stop => At::Looker { next: Look::Name, stops: true },
        };
        state.add(Process { attempt, ear, at });
    }

    /// One operation of one process. None where it waits.
    pub fn operate(&self, state: &mut State, process: Process) -> Option<()> {
        let place = state.processes.iter().position(|other| *other == process)?;
        state.processes.remove(place);
        match process.at {
            At::Launcher { next, whole } => self.launch(state, process, next, whole)?,
            At::Core(core) => self.core(state, process, core)?,
            At::Script(Script::Pid) => {
                state.files[process.attempt].pid = true;
                state.add(Process { at: At::Script(Script::Began), ..process });
            }
            At::Script(Script::Began | Script::Overwrites) => self.begin(state, process),
            // How it ends is an action of its own.
            At::Script(Script::Runs) => return None,
            At::Looker { next, stops } => self.look(state, process, next, stops)?,
        }
        Some(())
    }

    fn launch(&self, state: &mut State, process: Process, next: Launch, whole: bool) -> Option<()> {
        let files = &mut state.files[process.attempt];
        let taken = files.name != Name::Free;
        let next = match next {
            Launch::Check if taken => return say(state, process, Word::Taken),
            Launch::Check => Launch::Text,
            Launch::Text if !whole && self.bug != Some(Bug::SizeNotChecked) => {
                return say(state, process, Word::No);
            }
            Launch::Text => Launch::Boot,
            Launch::Boot => {
                if self.bug != Some(Bug::BootAfterName) {
                    files.boot = Some(state.boot);
                }
                if self.bug == Some(Bug::DiedEmptied) {
                    files.died = false;
                }
                Launch::Link
            }
            Launch::Link if taken && self.bug != Some(Bug::NameByCheck) => {
                return say(state, process, Word::Taken);
            }
            Launch::Link => {
                files.name = Name::Text;
                state.truth.half |= !whole;
                Launch::Begin
            }
            Launch::Begin => {
                if self.bug == Some(Bug::BootAfterName) {
                    files.boot = Some(state.boot);
                }
                state.add(Process { at: At::Core(Core::Start), ..process });
                return Some(());
            }
        };
        state.add(Process { at: At::Launcher { next, whole }, ..process });
        Some(())
    }

    fn core(&self, state: &mut State, process: Process, core: Core) -> Option<()> {
        let files = &mut state.files[process.attempt];
        let next = match core {
            Core::Start => {
                // Its own output is the core's, so nobody hears it but through that.
                state.add(Process { ear: Ear::Gone, at: At::Script(Script::Pid), ..process });
                Core::Waits
            }
            Core::Waits => return None,
            Core::Unbegun => return say(state, process, Word::Taken),
            Core::Open(exit) => {
                files.exit = Result::Hollow;
                Core::Write(match exit {
                    Exit::Signal if !files.died => Exit::AboveHundred,
                    exit => exit,
                })
            }
            Core::Write(said) => {
                files.exit = Result::Is(said);
                Core::Tell(said)
            }
            Core::Tell(exit) => {
                return say(state, process, Word::End(exit));
            }
        };
        state.add(Process { at: At::Core(next), ..process });
        Some(())
    }

    /// The script takes its second name, then the operator's text begins. Where somebody else has it, it ends.
    fn begin(&self, state: &mut State, process: Process) {
        let attempt = process.attempt;
        let overwrites = process.at == At::Script(Script::Overwrites);
        if state.files[attempt].began != Name::Free && !overwrites {
            if let Some(core) = state.take_core(attempt) {
                state.add(Process { at: At::Core(Core::Unbegun), ..core });
            }
            return;
        }
        if self.bug == Some(Bug::SecondNameByCheck) && !overwrites {
            state.add(Process { at: At::Script(Script::Overwrites), ..process });
            return;
        }
        state.files[attempt].began = Name::Text;
        state.truth.begun[attempt] += 1;
        let other = |other| other != attempt && state.runs(other);
        state.truth.overlapped |= (0..ATTEMPTS).any(other);
        state.add(Process { at: At::Script(Script::Runs), ..process });
    }

    /// The script ends; what ran it hears so.
    pub fn end_script(&self, state: &mut State, process: Process, exit: Exit, reused: bool) {
        let Some(place) = state.processes.iter().position(|other| *other == process) else {
            return;
        };
        state.processes.remove(place);
        let attempt = process.attempt;
        state.truth.ended[attempt] = Some(exit);
        state.foreign[attempt] = reused;
        let Some(core) = state.take_core(attempt) else { return };
        // Its shell says of a signal what it has to say when it hears of it.
        state.files[attempt].died |= exit == Exit::Signal;
        state.add(Process { at: At::Core(Core::Open(exit)), ..core });
    }

    fn look(&self, state: &mut State, process: Process, next: Look, stops: bool) -> Option<()> {
        let attempt = process.attempt;
        let files = state.files[attempt];
        let begun = if stops { Look::Pid } else { Look::Exit };
        let hollow_is_zero = self.bug == Some(Bug::EmptyIsZero);
        let finished = match files.exit {
            Result::Is(exit) => Some(Word::Finished(exit)),
            Result::Hollow if hollow_is_zero => Some(Word::Finished(Exit::Zero)),
            Result::Hollow | Result::Absent => None,
        };
        let next = match (next, finished) {
            (Look::Name, _) => match files.name {
                Name::Free => Look::Take,
                Name::Never | Name::Text => Look::Read,
            },
            (Look::Take, _) if files.name == Name::Free => {
                let takes = match stops {
                    true => self.bug != Some(Bug::StopTakesNothing),
                    false => self.bug != Some(Bug::LookTakesNothing),
                };
                if takes {
                    state.files[attempt].name = Name::Never;
                }
                return say(state, process, Word::Never);
            }
            // Another one was faster, and has perhaps taken the name for the same answer.
            (Look::Take, _) if self.bug == Some(Bug::LoserGuesses) => begun,
            (Look::Take, _) => Look::Read,
            (Look::Read, _) if files.name == Name::Never => {
                return say(state, process, Word::Never);
            }
            (Look::Read, _) => Look::ReadBegan,
            (Look::ReadBegan, _) if files.began == Name::Never => {
                return say(state, process, Word::Never);
            }
            (Look::ReadBegan, _) => begun,
            (Look::Exit | Look::LastBoot | Look::LastPid | Look::LastGone, Some(word)) => {
                return say(state, process, word);
            }
            (Look::Exit, None) => Look::Boot,
            (Look::Boot, _) if files.boot != Some(state.boot) => Look::LastBoot,
            (Look::Boot, _) => Look::Pid,
            (Look::Pid, _) => match files.began {
                Name::Text if stops => Look::Kill,
                Name::Text => Look::Alive,
                Name::Never => return say(state, process, Word::Never),
                Name::Free if self.is_patient && state.may_begin(attempt) => return None,
                // As it was before there was a second name.
                Name::Free if self.bug == Some(Bug::NoSecondName) => Look::LastPid,
                Name::Free => Look::TakeBegan,
            },
            (Look::TakeBegan, _) if files.began == Name::Free => {
                state.files[attempt].began = Name::Never;
                return say(state, process, Word::Never);
            }
            (Look::TakeBegan, _) => Look::Pid,
            (Look::Alive, _) if state.is_alive(attempt) => return None,
            (Look::Alive, _) if state.foreign[attempt] && self.bug == Some(Bug::PidAlone) => {
                return None;
            }
            (Look::Alive, _) if self.bug == Some(Bug::NoLastLook) => {
                return say(state, process, Word::Lost);
            }
            (Look::Alive, _) => Look::LastGone,
            (Look::LastGone, None) if self.is_patient && state.will_say_exit(attempt) => {
                return None;
            }
            (Look::LastBoot | Look::LastPid | Look::LastGone, None) => {
                return say(state, process, Word::Lost);
            }
            (Look::Kill, _) => return self.kill(state, process),
        };
        state.add(Process { at: At::Looker { next, stops }, ..process });
        Some(())
    }

    fn kill(&self, state: &mut State, process: Process) -> Option<()> {
        let attempt = process.attempt;
        let script = |p: &&Process| p.attempt == attempt && matches!(p.at, At::Script(_));
        state.truth.foreign_killed |= state.foreign[attempt] && self.bug == Some(Bug::PidAlone);
        match state.processes.iter().find(script).copied() {
            Some(script) => {
                self.end_script(state, script, Exit::Signal, false);
                state.add(process);
                Some(())
            }
            None => say(state, process, Word::Stopped(true)),
        }
    }
}

/// A process says its last word and ends. That is an operation like another.
fn say(state: &mut State, process: Process, word: Word) -> Option<()> {
    let attempt = process.attempt;
    if word == Word::Lost {
        let files = &state.files[attempt];
        let boots = files.boot == Some(state.boot);
        let lives = state.is_alive(attempt) || state.may_begin(attempt);
        let told = matches!(files.exit, Result::Is(_));
        state.truth.false_lost |= files.name != Name::Text || told || (boots && lives);
        // A launcher in this boot that has the name can still begin, whatever `boot` says.
        state.truth.false_lost |= lives;
    }
    if process.ear == Ear::Open {
        state.words.insert((matches!(process.at, At::Looker { stops: true, .. }), word));
    }
    Some(())
}
