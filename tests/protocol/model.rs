//! The state of the model: one controller and its journal, one host with its files and processes, the network between.

use std::collections::BTreeSet;

/// Attempts of the one step that the model makes: the first, and one retry.
pub const ATTEMPTS: usize = 2;

/// How a script ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// It passes.
    Zero,
    /// A signal ends it.
    Signal,
    /// What a result file says where nobody knows any more that it was a signal.
    AboveHundred,
}

/// Who has one of the two names that a script needs to begin, `script` and `began`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    Free,
    /// `#never`: nobody can begin any more.
    Never,
    /// The script itself: its text under the one, nothing under the other.
    Text,
}

/// The content of `exit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Result {
    Absent,
    /// There, and nothing in it yet.
    Hollow,
    Is(Exit),
}

/// The files of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Files {
    pub name: Name,
    pub boot: Option<u8>,
    pub pid: bool,
    pub began: Name,
    /// Whether `died` holds what a shell says of a script that a signal ended.
    pub died: bool,
    pub exit: Result,
}

impl Files {
    const NONE: Self = Self {
        name: Name::Free,
        boot: None,
        pid: false,
        began: Name::Free,
        died: false,
        exit: Result::Absent,
    };

    /// After a power cut names may be there without what was written under them.
    fn hollow(self) -> Self {
        let hollow = |result| match result {
            Result::Absent => Result::Absent,
            Result::Hollow | Result::Is(_) => Result::Hollow,
        };
        let empty = |name| match name {
            Name::Free => Name::Free,
            Name::Never | Name::Text => Name::Text,
        };
        let (name, began) = (empty(self.name), empty(self.began));
        Self { name, boot: None, pid: false, began, died: false, exit: hollow(self.exit) }
    }
}

/// Where a host's process can still be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ear {
    /// The controller waits for it.
    Open,
    /// The connection has ended. The host may not know yet.
    Gone,
}

/// What a controller asks a host to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ask {
    /// `launch.sh`; whether the script behind it arrives whole.
    Launch {
        whole: bool,
    },
    /// `look.sh` and `follow.sh`: the same questions, once or until there is an answer.
    Follow,
    Stop,
}

/// On its way to the host. The network keeps no order, and may keep a request long after its connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    pub attempt: usize,
    pub ask: Ask,
    pub ear: Ear,
}

/// Where a launcher is: what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Launch {
    /// `[ -e script ]`
    Check,
    /// `cat >script.$$`, and its size
    Text,
    /// `>boot`, `>died`
    Boot,
    /// `ln script.$$ script`
    Link,
    /// `fl_go`, then `setsid sh -c core`
    Begin,
}

/// Where what runs the script is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Core {
    /// `sh script`
    Start,
    /// It waits for the script.
    Waits,
    /// The script found its second name taken, and has ended: this ends, too, without a word.
    Unbegun,
    /// `>exit`: it is there, and empty
    Open(Exit),
    /// the one `write` into it
    Write(Exit),
    /// The marks behind the output.
    Tell(Exit),
}

/// Where the script's own process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Script {
    /// `>pid`
    Pid,
    /// `set -C; >began`
    Began,
    /// The same, after it has looked whether the name is free.
    Overwrites,
    /// The operator's text.
    Runs,
}

/// Where a look, a follower or a stopper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Look {
    /// `[ -e script ]`
    Name,
    /// `ln never.$$ script`
    Take,
    /// `read <script`, after the name was not to be had
    Read,
    /// `read <began`
    ReadBegan,
    /// `read <exit`
    Exit,
    /// Whether `boot` is the host's own
    Boot,
    /// `read <exit`, once more, before it says `lost`
    LastBoot,
    /// `read <began`, until it is there, or for so long that it is waited for no more; then `read <pid`
    Pid,
    /// `ln never.$$ began`
    TakeBegan,
    /// `read <exit`, once more, before it says `lost`
    LastPid,
    /// `/proc/<pid>/stat`
    Alive,
    /// `read <exit`, once more, before it says `lost`
    LastGone,
    /// `kill`, and a look whether all are gone
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum At {
    Launcher { next: Launch, whole: bool },
    Core(Core),
    Script(Script),
    Looker { next: Look, stops: bool },
}

/// A process of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    pub attempt: usize,
    pub ear: Ear,
    pub at: At,
}

/// What a host says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Word {
    /// A launcher: nothing was done.
    No,
    /// A launcher, or what was to run the script: one of its names is taken. Or the channel closes without a word.
    Taken,
    /// Behind a script's output.
    End(Exit),
    Never,
    Finished(Exit),
    Lost,
    /// A stopper: proven gone, or not.
    Stopped(bool),
}

/// How an attempt ends in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    Finished(Exit),
    TimedOut {
        stopped: bool,
    },
    Lost,
    /// It never began, by the host's word.
    Never,
    /// Not touched: the host said no.
    Refused,
    /// Not touched: no connection.
    Unreachable,
}

/// What the journal says of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    None,
    Started,
    Ended(Verdict),
}

/// What a living controller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    Decides,
    /// It has no connection, and nothing of this attempt has left it yet.
    HandsOver(usize),
    /// Its launcher is at work.
    Waits(usize),
    /// The connection broke: it opens another to ask.
    Asks(usize),
    /// A follower is at work.
    Follows(usize),
    /// The limit is over: beside the launcher or the follower a stopper is at work.
    Stops(usize, Beside),
    /// The host says never: in the boot that was known before?
    Compares(usize),
    /// Known, and not yet on disk.
    Knows(usize, Verdict),
    Done,
}

/// Which exchange a stopper stands beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Beside {
    Launcher,
    Follower,
}

/// What has truly happened, as only the model can know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Truth {
    /// How often the operator's text of an attempt began.
    pub begun: [u8; ATTEMPTS],
    pub ended: [Option<Exit>; ATTEMPTS],
    /// Two attempts ran at one time.
    pub overlapped: bool,
    /// Half a script began.
    pub half: bool,
    /// The host said `lost` of what had not begun, was running, could still begin, or had left its result.
    pub false_lost: bool,
    /// A process that is none of ours was ended.
    pub foreign_killed: bool,
}

/// How often each fault may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Faults {
    /// A connection ends.
    pub breaks: u8,
    /// The controller dies.
    pub crashes: u8,
    /// The host is started anew, in order.
    pub reboots: u8,
    /// The host loses power.
    pub power: u8,
    /// The host ends one of our own processes.
    pub kills: u8,
    /// A step's limit is over.
    pub timeouts: u8,
    /// A request arrives twice.
    pub copies: u8,
    /// The controller gives up on a host that does not answer.
    pub silences: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub journal: [Entry; ATTEMPTS],
    pub controller: Option<Mode>,
    pub requests: Vec<Request>,
    /// Answers on their way, each in an open channel: whether of the stopper, and what.
    pub words: BTreeSet<(bool, Word)>,
    pub boot: u8,
    pub files: [Files; ATTEMPTS],
    /// What a power cut leaves.
    pub disk: [Files; ATTEMPTS],
    /// Whether the number of the script's process belongs to another one now.
    pub foreign: [bool; ATTEMPTS],
    pub processes: Vec<Process>,
    pub faults: Faults,
    pub truth: Truth,
}

impl State {
    pub fn new(faults: Faults) -> Self {
        let truth = Truth {
            begun: [0; ATTEMPTS],
            ended: [None; ATTEMPTS],
            overlapped: false,
            half: false,
            false_lost: false,
            foreign_killed: false,
        };
        Self {
            journal: [Entry::None; ATTEMPTS],
            controller: Some(Mode::Decides),
            requests: Vec::new(),
            words: BTreeSet::new(),
            boot: 0,
            files: [Files::NONE; ATTEMPTS],
            disk: [Files::NONE; ATTEMPTS],
            foreign: [false; ATTEMPTS],
            processes: Vec::new(),
            faults,
            truth,
        }
    }

    /// The controller has nothing more to do, and every attempt that it began has an end in the journal.
    pub fn is_over(&self) -> bool {
        self.controller == Some(Mode::Done) && !self.journal.contains(&Entry::Started)
    }

    /// Equal states must look equal: what has no order is kept sorted.
    pub fn add(&mut self, process: Process) {
        let place = self.processes.partition_point(|other| *other < process);
        self.processes.insert(place, process);
    }

    pub fn send(&mut self, request: Request) {
        let place = self.requests.partition_point(|other| *other < request);
        self.requests.insert(place, request);
    }

    /// Takes out what runs the script and waits for it.
    pub fn take_core(&mut self, attempt: usize) -> Option<Process> {
        let waits = |p: &Process| p.attempt == attempt && p.at == At::Core(Core::Waits);
        let place = self.processes.iter().position(waits)?;
        Some(self.processes.remove(place))
    }

    /// Nobody hears what was asked before any more.
    pub fn hang_up(&mut self) {
        self.words.clear();
        self.requests.iter_mut().for_each(|request| request.ear = Ear::Gone);
        self.processes.iter_mut().for_each(|process| process.ear = Ear::Gone);
        self.requests.sort();
        self.processes.sort();
    }

    /// All processes end with the boot, and what is on its way to them.
    pub fn reboot(&mut self) {
        self.hang_up();
        self.boot += 1;
        self.processes.clear();
        self.requests.clear();
        self.foreign = [false; ATTEMPTS];
        self.disk = self.files;
    }

    pub fn cut_power(&mut self, hollow: bool) {
        self.files = self.disk;
        if hollow {
            self.files = self.files.map(Files::hollow);
        }
        self.reboot();
    }

    pub fn has(&self, attempt: usize, wanted: impl Fn(At) -> bool) -> bool {
        self.processes.iter().any(|process| process.attempt == attempt && wanted(process.at))
    }

    pub fn is_alive(&self, attempt: usize) -> bool {
        self.has(attempt, |at| matches!(at, At::Script(_)))
    }

    /// Whether the operator's text is at work.
    pub fn runs(&self, attempt: usize) -> bool {
        self.has(attempt, |at| at == At::Script(Script::Runs))
    }

    /// Whether a process of the attempt may still take its second name.
    pub fn may_begin(&self, attempt: usize) -> bool {
        self.has(attempt, |at| {
            matches!(
                at,
                At::Launcher { next: Launch::Begin, .. }
                    | At::Core(Core::Start)
                    | At::Script(Script::Pid | Script::Began | Script::Overwrites)
            )
        })
    }

    /// Whether what runs the script will still write its result.
    pub fn will_say_exit(&self, attempt: usize) -> bool {
        self.has(attempt, |at| matches!(at, At::Core(Core::Waits | Core::Open(_) | Core::Write(_))))
    }
}
