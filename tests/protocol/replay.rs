//! The model beside the real scripts: both are led through the same interleavings, and must come to the same.

use crate::{
    model::{
        Ask, At, Core, Ear, Entry, Exit, Faults, Launch, Look, Mode, Name, Process, Request,
        Result, Script, State, Word,
    },
    stage::{Next, Stage},
    steps::Model,
};
use stateright::Model as _;

/// The model of a host on which a controller waits for what it asked.
struct Twin {
    model: Model,
    state: State,
}

impl Twin {
    fn new() -> Self {
        let mut state = State::new(Faults::default());
        state.journal[0] = Entry::Started;
        state.controller = Some(Mode::Waits(0));
        Self { model: Model::new(Faults::default()), state }
    }

    /// A process begins, with an ear of its own, so that two of a kind can be told apart.
    fn begin(&mut self, ask: Ask, ear: Ear) {
        self.model.deliver(&mut self.state, Request { attempt: 0, ask, ear });
    }

    /// What the process of this ear stands before.
    fn at(&self, ear: Ear, looks: bool) -> Option<At> {
        let of = |p: &&Process| p.ear == ear && matches!(p.at, At::Looker { .. }) == looks;
        self.state.processes.iter().find(of).map(|p| p.at)
    }

    fn operate(&mut self, at: At) -> bool {
        let Some(process) = self.state.processes.iter().find(|p| p.at == at).copied() else {
            return false;
        };
        let mut next = self.state.clone();
        match self.model.operate(&mut next, process) {
            Some(()) => self.state = next,
            None => return false,
        }
        true
    }
}

/// The files as the model sees them.
fn files(stage: &Stage) -> (Name, bool, bool, bool, bool) {
    let script = stage.text("script");
    let name = match script.as_str() {
        "" => Name::Free,
        "#never\n" => Name::Never,
        _ => Name::Text,
    };
    let has = |name: &str| !stage.text(name).is_empty();
    (name, has("boot"), has("pid"), has("exit.new"), has("exit"))
}

fn twin_files(state: &State) -> (Name, bool, bool, bool, bool) {
    let files = &state.files[0];
    let there = |result| matches!(result, Result::Is(_));
    (files.name, files.boot.is_some(), files.pid, there(files.exit_new), there(files.exit))
}

/// The programs that a launch calls, in their order, each with the operations of the model that follow before the next one.
const LAUNCH: [(&str, &[At]); 8] = {
    const fn launcher(next: Launch) -> At {
        At::Launcher { next, whole: true }
    }
    [
        ("mkdir", &[launcher(Launch::Check)]),
        ("cat", &[]),
        ("wc", &[launcher(Launch::Text), launcher(Launch::Boot)]),
        ("ln", &[launcher(Launch::Link)]),
        ("rm", &[]),
        ("setsid", &[launcher(Launch::Begin)]),
        ("setsid", &[At::Core(Core::Start), At::Script(Script::Pid)]),
        ("mv", &[At::Core(Core::Rename)]),
    ]
};

/// Leads a launch so far, and the model with it. At every question both have the same files.
fn lead(stage: &mut Stage, twin: &mut Twin, programs: usize) {
    let mut next = stage.launch("launch");
    twin.begin(Ask::Launch { whole: true }, Ear::Open);
    for (n, (program, operations)) in LAUNCH.iter().take(programs + 1).enumerate() {
        let Next::Asks(asked) = &next else { panic!("it has ended before {program}: {next:?}") };
        assert_eq!(asked.name, *program, "operation {n}");
        assert_eq!(files(stage), twin_files(&twin.state), "before {program}, operation {n}");
        if n == programs {
            return;
        }
        if operations.contains(&At::Script(Script::Pid)) {
            stage.release();
        }
        next = stage.step("launch");
        for operation in *operations {
            assert!(twin.operate(*operation), "{operation:?}");
        }
        if operations.contains(&At::Script(Script::Pid)) {
            let runs = |p: &&Process| p.at == At::Script(Script::Runs);
            let script = *twin.state.processes.iter().find(runs).unwrap();
            twin.model.end_script(&mut twin.state, script, Exit::Zero, false);
            assert!(twin.operate(At::Core(Core::Write(Exit::Zero))));
        }
    }
    assert!(matches!(next, Next::Ended(_)), "{next:?}");
    assert_eq!(files(stage), twin_files(&twin.state), "in the end");
}

/// The model's answer to a look, now that nothing else moves.
fn answer(twin: &mut Twin) -> &'static str {
    twin.state.words.clear();
    twin.begin(Ask::Follow, Ear::Open);
    while let Some(at) = twin.at(Ear::Open, true) {
        if !twin.operate(at) {
            return "running";
        }
    }
    match twin.state.words.iter().next() {
        Some((_, Word::Never)) => "never",
        Some((_, Word::Finished(Exit::Zero))) => "finished 0",
        Some((_, Word::Lost)) => "lost",
        other => panic!("{other:?}"),
    }
}

#[test]
fn killed_before_any_operation_the_scripts_answer_as_the_model_does() {
    let mut answers = Vec::new();
    for programs in 0..=LAUNCH.len() {
        let (mut stage, mut twin) = (Stage::new(), Twin::new());
        lead(&mut stage, &mut twin, programs);
        if programs < LAUNCH.len() {
            stage.kill("launch");
            twin.state.processes.clear();
        }
        let told = format!("before operation {programs}");
        let wanted = answer(&mut twin);
        stage.look("look");
        stage.free("look");
        let said = stage.end("look");
        assert!(said.starts_with(wanted), "{told}: {said}, the model says {wanted}");
        assert_eq!(files(&stage), twin_files(&twin.state), "{told}");
        // Whoever comes late does not begin it again.
        stage.launch("late");
        stage.free("late");
        let late = stage.end("late");
        assert!(late.contains("begun before"), "{told}: {late}");
        assert_eq!(stage.begun(), usize::from(twin.state.truth.begun[0]), "{told}");
        answers.push(wanted);
    }
    let wanted = ["never", "never", "never", "never", "lost", "lost", "lost", "lost", "finished 0"];
    assert_eq!(answers, wanted);
}
