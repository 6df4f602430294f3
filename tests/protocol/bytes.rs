//! A model of what moves as bytes: a script's output, over connections that break, and files on their way up.

use stateright::{Checker, Model, Property};

/// So many pieces a script prints. Behind them stands the mark of its end.
const PIECES: u8 = 3;
const MARK: u8 = PIECES + 1;

/// One mistake in how output is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slip {
    /// A follower begins with the first byte, whatever the caller has seen.
    FromTheStart,
    /// The caller counts what was sent to it, and not what has come.
    CountsWhatWasSent,
    /// A follower looks for the result, and then for the sizes: by then the mark may stand there.
    SizesAfterResult,
    /// A follower does not wait until the last output is in the files.
    NoWaitForTheMark,
}

/// Where the controller's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    /// The launcher's own channel.
    Launcher,
    /// No connection; the next one follows.
    Nowhere,
    /// A follower, that has read so much of the file, and does this next.
    Follower(u8, Next),
    /// The end has come.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Next {
    Sizes,
    Result(u8),
    /// It knows that the script has ended.
    Rest,
    Said,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flow {
    /// Pieces that the script has printed; then the mark.
    printed: u8,
    /// `exit` is there.
    result: bool,
    /// `tee` passes each piece on, and then writes it into the file.
    passed: u8,
    file: u8,
    source: Source,
    /// In the channel, and not yet heard.
    wire: Vec<u8>,
    /// The follower has said that it is over.
    said_over: bool,
    /// What the controller has.
    heard: Vec<u8>,
    /// What was sent to it, whether it came or not.
    sent: u8,
    breaks: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Move {
    Prints,
    Ends,
    Passes,
    Writes,
    Follower,
    Hears,
    Breaks,
    Connects,
}

struct Output(Option<Slip>);

impl Output {
    fn follow(&self, flow: &mut Flow, read: u8, next: Next) -> Option<()> {
        let reads = |flow: &mut Flow, to: u8, next: Next| {
            flow.wire.extend(read + 1..=to);
            flow.sent = flow.sent.max(to);
            flow.source = Source::Follower(read.max(to), next);
        };
        match next {
            Next::Sizes if self.0 == Some(Slip::SizesAfterResult) => match flow.result {
                true => flow.source = Source::Follower(read, Next::Rest),
                false => flow.source = Source::Follower(read, Next::Result(0)),
            },
            Next::Sizes => flow.source = Source::Follower(read, Next::Result(flow.file)),
            Next::Result(_) if self.0 == Some(Slip::SizesAfterResult) => {
                let size = flow.file;
                reads(flow, size, Next::Sizes);
            }
            Next::Result(_) if flow.result => flow.source = Source::Follower(read, Next::Rest),
            Next::Result(size) => reads(flow, size, Next::Sizes),
            Next::Rest if flow.file == MARK => reads(flow, PIECES, Next::Said),
            Next::Rest if self.0 == Some(Slip::NoWaitForTheMark) => {
                let size = flow.file;
                reads(flow, size, Next::Said);
            }
            Next::Rest => return None,
            Next::Said if flow.said_over => return None,
            Next::Said => flow.said_over = true,
        }
        Some(())
    }

    fn hear(flow: &mut Flow) -> Option<()> {
        if flow.wire.is_empty() {
            if !flow.said_over {
                return None;
            }
            flow.source = Source::Over;
            return Some(());
        }
        let piece = flow.wire.remove(0);
        match (flow.source, piece) {
            // In the launcher's own channel the mark is one.
            (Source::Launcher, MARK) => flow.source = Source::Over,
            (_, piece) => flow.heard.push(piece),
        }
        Some(())
    }
}

impl Model for Output {
    type State = Flow;
    type Action = Move;

    fn init_states(&self) -> Vec<Flow> {
        vec![Flow {
            printed: 0,
            result: false,
            passed: 0,
            file: 0,
            source: Source::Launcher,
            wire: Vec::new(),
            said_over: false,
            heard: Vec::new(),
            sent: 0,
            breaks: 2,
        }]
    }

    fn actions(&self, _: &Flow, actions: &mut Vec<Move>) {
        use Move::{Breaks, Connects, Ends, Follower, Hears, Passes, Prints, Writes};
        actions.extend([Prints, Ends, Passes, Writes, Follower, Hears, Breaks, Connects]);
    }

    fn next_state(&self, flow: &Flow, action: Move) -> Option<Flow> {
        let mut next = flow.clone();
        let possible = match action {
            Move::Prints => flow.printed < PIECES && !flow.result,
            Move::Ends => flow.printed == PIECES && !flow.result,
            // What runs the script writes its mark when the result is there.
            Move::Passes => {
                let all = flow.printed + u8::from(flow.result);
                flow.passed == flow.file && flow.passed < all
            }
            Move::Writes => flow.file < flow.passed,
            Move::Follower | Move::Hears => true,
            Move::Breaks => {
                flow.breaks > 0 && !matches!(flow.source, Source::Nowhere | Source::Over)
            }
            Move::Connects => flow.source == Source::Nowhere,
        };
        if !possible {
            return None;
        }
        match action {
            Move::Prints => next.printed += 1,
            Move::Ends => next.result = true,
            Move::Passes => {
                next.passed += 1;
                if flow.source == Source::Launcher {
                    next.wire.push(next.passed);
                    next.sent = next.sent.max(next.passed.min(PIECES));
                }
            }
            Move::Writes => next.file += 1,
            Move::Follower => {
                let Source::Follower(read, to_do) = flow.source else { return None };
                self.follow(&mut next, read, to_do)?;
            }
            Move::Hears => Self::hear(&mut next)?,
            Move::Breaks => {
                next.breaks -= 1;
                next.wire.clear();
                next.said_over = false;
                next.source = Source::Nowhere;
            }
            Move::Connects => {
                let seen = match self.0 {
                    Some(Slip::FromTheStart) => 0,
                    Some(Slip::CountsWhatWasSent) => flow.sent,
                    _ => flow.heard.len() as u8,
                };
                next.source = Source::Follower(seen, Next::Sizes);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "each byte comes once, in order, and no mark with it",
                |_, flow: &Flow| {
                    flow.heard.iter().copied().eq(1..=flow.heard.len() as u8)
                        && flow.heard.len() <= usize::from(PIECES)
                },
            ),
            Property::always("in the end all has come", |_, flow: &Flow| {
                flow.source != Source::Over || flow.heard.len() == usize::from(PIECES)
            }),
        ]
    }
}

/// One mistake in how a file is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// What did not come whole is taken.
    NotChecked,
    /// All uploads write under one name before they rename.
    OneName,
    /// It is written at its place.
    InPlace,
    /// A connection that ends counts as the end of the upload.
    BreakIsEnd,
}

/// What stands at the file's place, or beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Content {
    Old,
    Half,
    Whole,
    /// A later step has changed it.
    Changed,
}

/// One try's process on the host. `whole`: all of its bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Try {
    NotYet,
    Opens { whole: bool },
    Writes { whole: bool },
    Checks,
    Renames,
    Ended,
    Refused,
}

const TRIES: usize = 2;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct File {
    place: Content,
    /// Beside the place, under the name of each try.
    beside: [Content; TRIES],
    tries: [Try; TRIES],
    /// Which try the controller waits for; none of them where it knows the end.
    waits: Option<usize>,
    passed: bool,
    next_step: bool,
    overwritten: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Act {
    Host(usize),
    Breaks { whole: bool },
    Hears,
    NextStep,
}

struct Upload(Option<Fault>);

impl Upload {
    /// One operation of a try's process.
    fn host(&self, file: &mut File, nth: usize) -> Option<()> {
        let own = if self.0 == Some(Fault::OneName) { 0 } else { nth };
        let in_place = self.0 == Some(Fault::InPlace);
        let put = |file: &mut File, content| match in_place {
            true => file.place = content,
            false => file.beside[own] = content,
        };
        file.tries[nth] = match file.tries[nth] {
            Try::NotYet | Try::Ended | Try::Refused => return None,
            Try::Opens { whole } => {
                put(file, Content::Half);
                Try::Writes { whole }
            }
            Try::Writes { whole } => {
                put(file, if whole { Content::Whole } else { Content::Half });
                if in_place { Try::Ended } else { Try::Checks }
            }
            Try::Checks if file.beside[own] == Content::Whole => Try::Renames,
            Try::Checks if self.0 == Some(Fault::NotChecked) => Try::Renames,
            Try::Checks => Try::Refused,
            Try::Renames => {
                file.overwritten |= file.place == Content::Changed;
                file.place = file.beside[own];
                file.beside[own] = Content::Old;
                Try::Ended
            }
        };
        Some(())
    }
}

impl Model for Upload {
    type State = File;
    type Action = Act;

    fn init_states(&self) -> Vec<File> {
        let mut tries = [Try::NotYet; TRIES];
        tries[0] = Try::Opens { whole: true };
        vec![File {
            place: Content::Old,
            beside: [Content::Old; TRIES],
            tries,
            waits: Some(0),
            passed: false,
            next_step: false,
            overwritten: false,
        }]
    }

    fn actions(&self, _: &File, actions: &mut Vec<Act>) {
        actions.extend((0..TRIES).map(Act::Host));
        actions.extend([true, false].map(|whole| Act::Breaks { whole }));
        actions.extend([Act::Hears, Act::NextStep]);
    }

    fn next_state(&self, file: &File, action: Act) -> Option<File> {
        let mut next = file.clone();
        match action {
            Act::Host(nth) => self.host(&mut next, nth)?,
            Act::Breaks { whole } => {
                let nth = file.waits.filter(|nth| nth + 1 < TRIES)?;
                // What is on its way may come whole all the same, or be cut.
                if let Try::Opens { whole: comes } | Try::Writes { whole: comes } =
                    &mut next.tries[nth]
                {
                    *comes = whole;
                }
                if self.0 == Some(Fault::BreakIsEnd) {
                    (next.waits, next.passed) = (None, true);
                } else {
                    next.waits = Some(nth + 1);
                    next.tries[nth + 1] = Try::Opens { whole: true };
                }
            }
            Act::Hears => match file.tries[file.waits?] {
                Try::Ended => (next.waits, next.passed) = (None, true),
                Try::Refused => next.waits = None,
                Try::NotYet
                | Try::Opens { .. }
                | Try::Writes { .. }
                | Try::Checks
                | Try::Renames => {
                    return None;
                }
            },
            Act::NextStep if file.passed && !file.next_step => {
                (next.next_step, next.place) = (true, Content::Changed);
            }
            Act::NextStep => return None,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("half a file is never seen at its place", |_, file: &File| {
                file.place != Content::Half
            }),
            Property::always("what passed is there", |_, file: &File| {
                !file.passed || file.place != Content::Old
            }),
            Property::always("whoever comes late changes nothing", |_, file: &File| {
                !file.overwritten
            }),
        ]
    }
}

/// What does not hold, and how many states were seen.
macro_rules! found {
    ($model:expr) => {{
        let checker = $model.checker().spawn_bfs().join();
        let mut names: Vec<&str> = checker.discoveries().into_keys().collect();
        names.sort_unstable();
        (names, checker.unique_state_count())
    }};
}

#[test]
fn every_byte_of_an_output_comes_once_however_connections_break() {
    let (wrong, states) = found!(Output(None));
    println!("{states} states");
    assert_eq!(wrong, Vec::<&str>::new());
    let (once, all) =
        ("each byte comes once, in order, and no mark with it", "in the end all has come");
    for (slip, wanted) in [
        (Slip::FromTheStart, once),
        (Slip::CountsWhatWasSent, once),
        (Slip::SizesAfterResult, once),
        (Slip::NoWaitForTheMark, all),
    ] {
        let (wrong, states) = found!(Output(Some(slip)));
        println!("{slip:?}: not so: {wrong:?}, {states} states");
        assert!(wrong.contains(&wanted), "{slip:?} is not found: {wrong:?}");
    }
}

/// A file is sent again over another connection, since whole files do no harm. One that was kept waiting for long on the host
/// does, where a later step has changed the file meanwhile: that is a limit, and no promise.
#[test]
fn a_file_is_whole_or_as_it_was_however_often_it_is_sent() {
    let late = "whoever comes late changes nothing";
    let (wrong, states) = found!(Upload(None));
    println!("{states} states");
    assert_eq!(wrong, [late]);
    let (half, there) = ("half a file is never seen at its place", "what passed is there");
    for (fault, wanted) in [
        (Fault::NotChecked, half),
        (Fault::OneName, half),
        (Fault::InPlace, half),
        (Fault::BreakIsEnd, there),
    ] {
        let (wrong, states) = found!(Upload(Some(fault)));
        println!("{fault:?}: not so: {wrong:?}, {states} states");
        assert!(wrong.contains(&wanted), "{fault:?} is not found: {wrong:?}");
    }
}
