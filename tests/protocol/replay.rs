//! The model beside the real scripts: both are led through the same interleavings, and must come to the same.

use crate::{
    model::{
        Ask, At, Core, Ear, Entry, Exit, Faults, Launch, Look, Mode, Name, Process, Request,
        Result, Script, State, Word,
    },
    stage::{COMMON, LOCK, Next, Stage},
    steps::Model,
};
use std::{collections::BTreeSet, fs, process::Command};

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

    /// Whether whoever stands there can go on.
    fn can(&self, at: At) -> bool {
        Twin { model: Model::new(Faults::default()), state: self.state.clone() }.operate(at)
    }

    /// One operation of whoever stands there. Returns where it stands afterwards, where it has not ended.
    fn advance(&mut self, at: At) -> Option<At> {
        let mut others: Vec<At> = self.state.processes.iter().map(|p| p.at).collect();
        others.remove(others.iter().position(|other| *other == at)?);
        if !self.operate(at) {
            return Some(at);
        }
        let mut now: Vec<At> = self.state.processes.iter().map(|p| p.at).collect();
        for other in others {
            now.remove(now.iter().position(|at| *at == other)?);
        }
        now.pop()
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

/// The files as the model sees them: name, boot, process id, second name, result.
fn files(stage: &Stage) -> (Name, bool, bool, Name, bool) {
    let name = match stage.text("script").as_str() {
        "" => Name::Free,
        "#never\n" => Name::Never,
        _ => Name::Text,
    };
    let began = match (stage.file("began").exists(), stage.text("began").as_str()) {
        (false, _) => Name::Free,
        (true, "#never\n") => Name::Never,
        (true, _) => Name::Text,
    };
    let has = |name: &str| !stage.text(name).is_empty();
    (name, has("boot"), has("pid"), began, has("exit"))
}

fn twin_files(state: &State) -> (Name, bool, bool, Name, bool) {
    let files = &state.files[0];
    let ended = matches!(files.exit, Result::Is(_));
    (files.name, files.boot.is_some(), files.pid, files.began, ended)
}

const fn launcher(next: Launch) -> At {
    At::Launcher { next, whole: true }
}

/// A program that a script calls, and the operations of the model that follow before the next one.
type Called = (&'static str, &'static [At]);

/// A launch of a script that comes behind the launcher.
const BEHIND: [Called; 7] = [
    ("mkdir", &[launcher(Launch::Check)]),
    ("cat", &[]),
    ("wc", &[launcher(Launch::Text), launcher(Launch::Boot)]),
    ("ln", &[launcher(Launch::Link)]),
    ("rm", &[]),
    ("setsid", &[launcher(Launch::Begin)]),
    ("setsid", &[At::Core(Core::Start), At::Script(Script::Pid), At::Script(Script::Began)]),
];

/// A launch of a script that comes within the launcher, whose shell makes the name itself.
const WITHIN: [Called; 3] = [
    (
        "mkdir",
        &[
            launcher(Launch::Check),
            launcher(Launch::Text),
            launcher(Launch::Boot),
            launcher(Launch::Link),
        ],
    ),
    ("setsid", &[launcher(Launch::Begin)]),
    ("setsid", &[At::Core(Core::Start), At::Script(Script::Pid), At::Script(Script::Began)]),
];

/// Leads a launch so far, and the model with it. At every question both have the same files.
fn lead(stage: &mut Stage, twin: &mut Twin, called: &[Called], programs: usize) {
    let mut next = stage.launch("launch", called.len() == WITHIN.len());
    twin.begin(Ask::Launch { whole: true }, Ear::Open);
    for (n, (program, operations)) in called.iter().take(programs + 1).enumerate() {
        let Next::Asks(asked) = &next else { panic!("it has ended before {program}: {next:?}") };
        assert_eq!(asked.name, *program, "operation {n}");
        assert_eq!(files(stage), twin_files(&twin.state), "before {program}, operation {n}");
        if n == programs {
            return;
        }
        let last = n + 1 == called.len();
        if last {
            stage.release();
        }
        next = stage.step("launch");
        for operation in *operations {
            assert!(twin.operate(*operation), "{operation:?}");
        }
        if last {
            let runs = |p: &&Process| p.at == At::Script(Script::Runs);
            let script = *twin.state.processes.iter().find(runs).unwrap();
            twin.model.end_script(&mut twin.state, script, Exit::Zero, false);
            assert!(twin.operate(At::Core(Core::Open(Exit::Zero))));
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

fn killed_before_any_operation(called: &[Called]) -> Vec<&'static str> {
    let mut answers = Vec::new();
    for programs in 0..=called.len() {
        let (mut stage, mut twin) = (Stage::new(), Twin::new());
        lead(&mut stage, &mut twin, called, programs);
        if programs < called.len() {
            stage.kill("launch");
            twin.state.processes.clear();
        }
        stage.stands_still();
        let told = format!("before operation {programs}");
        let wanted = answer(&mut twin);
        stage.look("look");
        stage.free("look");
        let said = stage.end("look");
        assert!(said.starts_with(wanted), "{told}: {said}, the model says {wanted}");
        assert_eq!(files(&stage), twin_files(&twin.state), "{told}");
        // Whoever comes late does not begin it again.
        stage.launch("late", called.len() == WITHIN.len());
        stage.free("late");
        let late = stage.end("late");
        assert!(late.contains("begun before"), "{told}: {late}");
        assert_eq!(stage.begun(), usize::from(twin.state.truth.begun[0]), "{told}");
        answers.push(wanted);
    }
    answers
}

#[test]
fn killed_before_any_operation_the_scripts_answer_as_the_model_does() {
    let answers = killed_before_any_operation(&BEHIND);
    let wanted = ["never", "never", "never", "never", "never", "never", "never", "finished 0"];
    assert_eq!(answers, wanted);
    assert_eq!(killed_before_any_operation(&WITHIN), ["never", "never", "never", "finished 0"]);
}

/// The real `lock.sh`, asked for one answer in a folder with these files.
fn lock_says(files: &[(&str, &str)], question: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let root = dir.path().display();
    let text = format!(
        "fl_root={root}; fl_locks={root}/lock/m; fl_run=mine; fl_high=1\n{COMMON}{LOCK}\nfl_find_boot\n{question}\n"
    );
    let status = Command::new("/bin/sh").args(["-c", &text, "fleetlift", "mark"]).status().unwrap();
    status.success()
}

#[test]
fn a_lock_is_held_only_where_its_number_is_the_highest_of_all() {
    for (numbers, held) in [
        (&["1"][..], true),
        (&["1", "2"], false),
        // Renewed late: the next number has come and gone.
        (&["1", "3"], false),
        (&["1", "10"], false),
        (&["2"], false),
        (&[], false),
    ] {
        let files: Vec<String> = numbers.iter().map(|number| format!("lock/m/{number}")).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|file| (file.as_str(), "")).collect();
        assert_eq!(lock_says(&files, "fl_still_held"), held, "{numbers:?}");
    }
}

#[test]
fn who_takes_a_lock_sees_the_scripts_of_every_other_run() {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    // This very process stands for a script that is at work.
    let beside = format!("{boot}{}\n", std::process::id());
    for (run, ended, busy) in [
        ("last", false, true),
        ("one.before", false, true),
        ("last", true, false),
        ("mine", false, false),
        ("mine.1", false, false),
    ] {
        let place = |name: &str| format!("{run}/host/0.migrate.step.1/{name}");
        let [script, boot, exit] = ["script", "boot", "exit"].map(place);
        let mut files = vec![(script.as_str(), "text\n"), (boot.as_str(), beside.as_str())];
        if ended {
            files.push((exit.as_str(), "0\n"));
        }
        assert_eq!(lock_says(&files, "fl_is_at_work"), busy, "{run}, ended: {ended}");
    }
}

/// A container counts the seconds of its machine, and its boot id is new all the same.
#[test]
fn a_lease_begins_again_with_the_boot_of_a_container() {
    let text = format!(
        "{COMMON}{LOCK}\nfl_lease=5; fl_find_boot; fl_clock; fl_until=1; fl_then=another\nfl_find_left; echo $fl_left"
    );
    let unshare = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let shell = ["/bin/sh", "-c", &text, "fleetlift", "mark"];
    let output = Command::new("unshare").args(unshare).args(shell).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if said.starts_with("unshare: ") {
        eprintln!("SKIPPED: no container here: {said}");
        return;
    }
    let left: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    assert_ne!(left, 0, "its first process has only just begun: {said}");
}

/// What two actors do, one thing after the other: every order of so many of the one's and so many of the other's.
fn orders(first: usize, second: usize) -> Vec<Vec<usize>> {
    match (first, second) {
        (0, 0) => vec![Vec::new()],
        (first, second) => {
            let mut all = Vec::new();
            for (who, left) in [(0, first), (1, second)] {
                if left > 0 {
                    let rest =
                        orders(first - usize::from(who == 0), second - usize::from(who == 1));
                    all.extend(rest.into_iter().map(|order| [vec![who], order].concat()));
                }
            }
            all
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plays {
    Launches,
    Looks,
}

/// The moves of an actor: which programs it calls in each, and what the model does meanwhile. In the first it begins.
fn moves(plays: Plays) -> &'static [(&'static [&'static str], usize)] {
    match plays {
        Plays::Launches => &[(&["mkdir"], 1), (&["cat", "wc"], 2), (&["ln", "rm"], 1)],
        Plays::Looks => &[(&[], 1), (&["mkdir"], 0), (&["ln", "rm"], 2)],
    }
}

/// Leads two real actors through one order, then both to their ends. Returns what they said, and how often the script began.
fn play(actors: [(&str, Plays); 2], order: &[usize]) -> (BTreeSet<&'static str>, usize) {
    let mut stage = Stage::new();
    let mut moved = [0, 0];
    let mut stands = [Next::Ended(String::new()), Next::Ended(String::new())];
    for who in order {
        let (actor, plays) = actors[*who];
        if moved[*who] == 0 {
            stands[*who] = match plays {
                Plays::Launches => stage.launch(actor, false),
                Plays::Looks => stage.look(actor),
            };
        }
        for program in moves(plays)[moved[*who]].0 {
            // Whoever found the name taken has ended, or naps and waits for what the other will do.
            if matches!(&stands[*who], Next::Asks(asked) if asked.name == *program) {
                stands[*who] = stage.step(actor);
            }
        }
        moved[*who] += 1;
    }
    // Launchers first, so that those who look have something to see; the script runs until they have seen it.
    let of =
        |wanted| actors.iter().filter(move |(_, plays)| *plays == wanted).map(|(name, _)| *name);
    of(Plays::Launches).for_each(|actor| stage.free(actor));
    let mut said: Vec<String> = of(Plays::Looks).map(|actor| stage.free_to_end(actor)).collect();
    stage.release();
    said.extend(of(Plays::Launches).map(|actor| stage.free_to_end(actor)));
    let words = said.iter().map(|said| match said.split(':').next() {
        Some("never") => "never",
        Some("running") => "running",
        Some("no") => "no",
        Some("") => "ran",
        other => panic!("{other:?}"),
    });
    (words.collect(), stage.begun())
}

/// The same in the model.
fn play_twin(actors: [(&str, Plays); 2], order: &[usize]) -> (BTreeSet<&'static str>, usize) {
    let mut twin = Twin::new();
    let mut moved = [0, 0];
    let mut at: [Option<At>; 2] = [None, None];
    for who in order {
        let (_, plays) = actors[*who];
        if moved[*who] == 0 {
            let (ask, first) = match plays {
                Plays::Launches => (Ask::Launch { whole: true }, launcher(Launch::Check)),
                Plays::Looks => (Ask::Follow, At::Looker { next: Look::Name, stops: false }),
            };
            twin.begin(ask, Ear::Open);
            at[*who] = Some(first);
        }
        for _ in 0..moves(plays)[moved[*who]].1 {
            at[*who] = at[*who].and_then(|at| twin.advance(at));
        }
        moved[*who] += 1;
    }
    // All others go on until nobody can.
    while let Some(at) = twin.state.processes.iter().map(|p| p.at).find(|at| twin.can(*at)) {
        twin.operate(at);
    }
    let mut words: BTreeSet<&str> = BTreeSet::new();
    for (_, word) in &twin.state.words {
        words.insert(match word {
            Word::Never => "never",
            Word::Taken => "no",
            other => panic!("{other:?}"),
        });
    }
    for process in &twin.state.processes {
        match process.at {
            At::Looker { .. } => words.insert("running"),
            At::Core(_) => words.insert("ran"),
            At::Launcher { .. } | At::Script(_) => false,
        };
    }
    (words, usize::from(twin.state.truth.begun[0]))
}

#[test]
fn in_every_order_the_scripts_and_the_model_come_to_the_same() {
    use Plays::{Launches, Looks};
    let pairs = [
        [("launch", Launches), ("look", Looks)],
        [("one", Launches), ("other", Launches)],
        [("one", Looks), ("other", Looks)],
    ];
    for pair in pairs {
        let [first, second] = pair.map(|(_, plays)| moves(plays).len());
        let mut seen = BTreeSet::new();
        // Two of a kind are told apart by nothing: one of them is always the first.
        let alike = pair[0].1 == pair[1].1;
        for order in orders(first, second).into_iter().filter(|order| !alike || order[0] == 0) {
            let real = play(pair, &order);
            assert_eq!(real, play_twin(pair, &order), "{pair:?} {order:?}");
            seen.insert(real);
        }
        println!("{pair:?}: {seen:?}");
    }
}
