//! `approve` and `reject`: what people say about the waves of a run, or of a saved plan.

use super::{
    args::{ApproveArgs, Common, DecideArgs},
    common::{self, Candidates, Seen},
    driving,
    error::CliError,
    requests::{self, Answer},
    saved,
};
use crate::{
    base::{
        approval::{Approval, Decision, NAMESPACE, Rule, SKEW, Statement, Unfit, check_reason},
        name::{Principal, RunId},
        suggest::did_you_mean,
        text::one_line,
        time::{Clock, SystemClock, Timestamp},
    },
    host::ssh::{self, SignError},
    journal::{Ask, Event, Store},
    plan::Plan,
    run::{RunPhase, RunState, good_until},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

/// Approvals of a saved plan stand beside it.
const ENDING: &str = ".approvals";
/// A text or a signature is a few hundred bytes; more is another file.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What an approval is for.
enum Target {
    Run(Store, Box<Seen>),
    /// A saved plan, and the state of a run that would begin with what was said of it so far.
    Plan(PathBuf, Box<(Plan, RunState)>),
}

/// `approve`: opens a gate, as far as it is up to one person.
pub fn approve(common: &Common, args: &ApproveArgs) -> Result<ExitCode, CliError> {
    decide(common, &args.what, Decision::Approve, args.expires)
}

/// `reject`: closes a gate until the same person approves.
pub fn reject(common: &Common, args: &DecideArgs) -> Result<ExitCode, CliError> {
    decide(common, args, Decision::Reject, None)
}

fn decide(
    common: &Common,
    args: &DecideArgs,
    decision: Decision,
    expires: Option<Duration>,
) -> Result<ExitCode, CliError> {
    let target = target(common, args)?;
    let (plan, state) = target.parts();
    let (number, rule) = gate(plan, &args.gate)?;
    let wave = &plan.waves[number];
    let approval = match &args.signature {
        Some(signature) => handed_in(args, signature, decision)?,
        None => {
            if args.key.is_some() && rule.signers.is_none() {
                let message = format!("the word about wave {}: {}", wave.name, Unfit::NoSigners);
                return Err(CliError::refused(message).hint("leave `--key` out"));
            }
            let said = statement(args, &target, (number, rule), (decision, expires))?;
            if args.print {
                print(&said, rule)?;
                return Ok(ExitCode::SUCCESS);
            }
            let signature = match &args.key {
                Some(key) => Some(sign(key, &said)?),
                None if rule.signers.is_some() => return Err(unfit(&said, &Unfit::Unsigned)),
                None => None,
            };
            Approval { statement: said, signature }
        }
    };
    if approval.statement.wave != wave.name {
        let (said, is) = (approval.statement.wave.clone(), wave.name.clone());
        return Err(unfit(&approval.statement, &Unfit::OtherWave { said, is }));
    }
    let now = SystemClock.now();
    check(plan, state, target.run(), &approval, now)
        .map_err(|error| unfit(&approval.statement, &error))?;
    let text = hand_over(&target, (number, rule), approval)?;
    common::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// Whether it counts here and now.
fn check(
    plan: &Plan,
    state: &RunState,
    run: Option<&RunId>,
    approval: &Approval,
    now: Timestamp,
) -> Result<(), Unfit> {
    let said = &approval.statement;
    match (run, &said.run) {
        (Some(run), _) => said.check_run(run)?,
        (None, Some(one)) => return Err(Unfit::OneRun { said: one.clone() }),
        (None, None) => {}
    }
    let (number, known) = state.check(plan, approval)?;
    said.check_time(now)?;
    if let (Decision::Approve, Some(at)) = (said.decision, known.until)
        && at <= now
    {
        return Err(Unfit::Expired { at });
    }
    match state.waves[number].gate.words.get(&said.principal) {
        Some(last) if last.issued >= said.issued => {
            Err(Unfit::Superseded { principal: said.principal.clone(), at: last.issued })
        }
        Some(_) | None => Ok(()),
    }
}

impl Target {
    fn parts(&self) -> (&Plan, &RunState) {
        match self {
            Self::Run(_, seen) => (&seen.plan, &seen.state),
            Self::Plan(_, known) => (&known.0, &known.1),
        }
    }

    fn run(&self) -> Option<&RunId> {
        match self {
            Self::Run(_, seen) => Some(&seen.run),
            Self::Plan(..) => None,
        }
    }
}

fn target(common: &Common, args: &DecideArgs) -> Result<Target, CliError> {
    let file = Path::new(&args.target);
    if file.is_file() {
        let plan = saved::read(file)?;
        let mut state = RunState::new(&plan.plan);
        state.digest = plan.digest;
        for said in read_beside(file)? {
            // What does not count here is told when the plan is applied.
            let _ = state.take_word(&plan.plan, &said.approval);
        }
        return Ok(Target::Plan(file.to_owned(), Box::new((plan.plan, state))));
    }
    // What looks like a file's name is meant as one, and no run is called so.
    if file.components().count() > 1 || file.extension().is_some() {
        return Err(CliError::usage(format!("there is no saved plan {}", args.target))
            .hint("`fleetlift plan -o FILE` saves one; a run goes by its name, or by `last`"));
    }
    let store = common::store(common)?;
    let run = common::find(&store, Some(&args.target), Candidates::Only)?;
    let seen = common::read(&store, run)?;
    match seen.state.phase {
        RunPhase::Running | RunPhase::Paused(_) => Ok(Target::Run(store, Box::new(seen))),
        RunPhase::New => Err(CliError::refused(format!("run {} has not begun", seen.run))
            .hint(format!("`fleetlift resume {}` begins it", seen.run))),
        RunPhase::Finished(_) => Err(CliError::refused(format!("run {} is finished", seen.run))
            .hint(format!("`fleetlift report {}` shows how it went", seen.run))),
    }
}

/// The number of the wave that is meant, and who may open it.
fn gate<'p>(plan: &'p Plan, name: &str) -> Result<(usize, &'p Rule), CliError> {
    let gated = || plan.waves.iter().filter(|wave| wave.approval.is_some());
    let names: Vec<&str> = gated().map(|wave| wave.name.as_str()).collect();
    let list = || match names.as_slice() {
        [] => "no wave of this plan asks for approvals".to_owned(),
        names => format!("gates are {}", names.join(", ")),
    };
    let found = plan.waves.iter().enumerate().find(|(_, wave)| wave.name.as_str() == name);
    match found.map(|(number, wave)| (number, wave, &wave.approval)) {
        Some((number, _, Some(rule))) => Ok((number, rule)),
        Some((_, wave, None)) => {
            Err(CliError::refused(format!("wave {} needs no approval", wave.name)).hint(list()))
        }
        None => {
            let hint = did_you_mean(name, names.iter().copied()).unwrap_or_else(list);
            Err(CliError::usage(format!("there is no gate {}", one_line(name))).hint(hint))
        }
    }
}

/// What is said now.
fn statement(
    args: &DecideArgs,
    target: &Target,
    (number, rule): (usize, &Rule),
    (decision, expires): (Decision, Option<Duration>),
) -> Result<Statement, CliError> {
    let reason = args.reason.clone().unwrap_or_default();
    check_reason(&reason).map_err(|error| {
        CliError::usage(error.to_string()).hint("`--reason \"CHG0042, as agreed\"` says why")
    })?;
    let principal = principal(args, rule)?;
    let (plan, state) = target.parts();
    let wave = &plan.waves[number];
    let last = state.waves[number].gate.words.get(&principal).map(|word| word.issued);
    let now = SystemClock.now();
    // Two words of one millisecond, or a clock that was set back a little: the later word is the later one.
    let soon = last.filter(|last| *last >= now && last.since(now) < SKEW);
    let issued = soon.map_or(now, |last| last + Duration::from_millis(1));
    let length = expires.unwrap_or(rule.expires);
    Ok(Statement {
        plan: state.digest.clone(),
        run: target.run().cloned(),
        wave: wave.name.clone(),
        decision,
        principal,
        issued,
        expires: (decision == Decision::Approve).then_some(issued + length),
        reason,
    })
}

/// Whose word it is: as it is said, or as the key says, or who is logged in.
fn principal(args: &DecideArgs, rule: &Rule) -> Result<Principal, CliError> {
    let name_one = || format!("`--as PRINCIPAL` says whose word it is: one of {}", rule.names());
    if let Some(name) = &args.principal {
        return name
            .parse()
            .map_err(|error| CliError::usage("whose word is it?").cause(&error).hint(name_one()));
    }
    if let Some(path) = &args.key {
        let key = ssh::public_key(path).map_err(|error| bad_key(path, &error))?;
        return match rule.owners(&key).as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(CliError::refused(format!(
                "the key {} is that of nobody who may: {}",
                key.fingerprint(Default::default()),
                rule.names()
            ))
            .hint("allowed signers are a part of the plan; is this the right key?")),
            _ => Err(CliError::usage("the key is that of several people").hint(name_one())),
        };
    }
    let user = common::operator();
    let user = user.split('@').next().unwrap_or_default();
    match rule.of.iter().find(|principal| principal.as_str() == user) {
        Some(principal) => Ok(principal.clone()),
        None => {
            Err(CliError::usage(format!("{} is not asked here", one_line(user))).hint(name_one()))
        }
    }
}

fn print(said: &Statement, rule: &Rule) -> Result<(), CliError> {
    if rule.signers.is_none() {
        return Err(unfit(said, &Unfit::NoSigners));
    }
    if !rule.of.contains(&said.principal) {
        let (principal, of) = (said.principal.clone(), rule.names());
        return Err(unfit(said, &Unfit::NotAsked { principal, of }));
    }
    common::print(&said.text());
    common::complain(&format!(
        "Sign this text, byte for byte: `ssh-keygen -Y sign -f KEY -n {NAMESPACE} FILE`, then `fleetlift {} … --signature FILE.sig`.\n",
        said.decision.word()
    ));
    Ok(())
}

fn sign(key: &Path, said: &Statement) -> Result<String, CliError> {
    let text = said.text();
    let signing = ssh::sign(key, NAMESPACE, &text, driving::prompt());
    driving::block_on(signing)?.map_err(|error| bad_key(key, &error))
}

fn bad_key(key: &Path, error: &SignError) -> CliError {
    CliError::usage(format!("nothing was signed with {}", one_line(&key.to_string_lossy())))
        .cause(error)
        .hint("`--key` names a private SSH key, or the public half of one that the agent holds")
}

/// A signature that was made elsewhere, and the text that it is under.
fn handed_in(
    args: &DecideArgs,
    signature: &Path,
    decision: Decision,
) -> Result<Approval, CliError> {
    let text = match &args.text {
        Some(text) => text.clone(),
        None if signature.extension().is_some_and(|ending| ending == "sig") => {
            signature.with_extension("")
        }
        None => {
            return Err(CliError::usage("under which text is the signature?")
                .hint("`--text FILE` names it; it is FILE where the signature is FILE.sig"));
        }
    };
    let shown = one_line(&text.to_string_lossy()).into_owned();
    let statement = Statement::parse(&read_small(&text)?).map_err(|error| {
        CliError::usage(format!("{shown} is not what `--print` wrote"))
            .cause(&error)
            .hint("every byte of it is signed; write it anew with `--print >FILE`")
    })?;
    if statement.decision != decision {
        let word = statement.decision.word();
        return Err(CliError::usage(format!("the text in {shown} says {word}"))
            .hint(format!("`fleetlift {word} … --signature FILE` hands it in")));
    }
    Ok(Approval { statement, signature: Some(read_small(signature)?) })
}

fn read_small(path: &Path) -> Result<String, CliError> {
    let shown = one_line(&path.to_string_lossy()).into_owned();
    let fail = |error: &dyn std::error::Error| {
        CliError::usage(format!("{shown} cannot be read")).cause(error)
    };
    let size = fs::metadata(path).map_err(|e| fail(&e))?.len();
    if size > FILE_BYTES_MAX {
        return Err(CliError::usage(format!("{shown} is neither a text nor a signature")));
    }
    fs::read_to_string(path).map_err(|e| fail(&e))
}

/// A refusal, with what to do about it.
fn unfit(said: &Statement, error: &Unfit) -> CliError {
    let doing = match said.decision {
        Decision::Approve => "the approval",
        Decision::Reject => "the rejection",
    };
    let hint = match error {
        Unfit::NoGate { .. } => "gates are waves with `approval` in the rollout",
        Unfit::OtherPlan { .. } => "a plan that was made anew is approved anew",
        Unfit::OtherRun { .. } | Unfit::OneRun { .. } => {
            "an approval of one run does not carry over; one of a saved plan counts for its runs"
        }
        Unfit::OtherWave { .. } => "name the wave that the text is about, or approve this one",
        Unfit::NotAsked { .. } => "who may is a part of the plan; `--as` says whose word it is",
        Unfit::Reason(_) | Unfit::Endless | Unfit::TooLong { .. } => {
            "`--expires 2h` says how long it is good, `--reason` why it is given"
        }
        Unfit::Expired { .. } => "give it anew",
        Unfit::Early { .. } => "compare the clocks of both machines",
        Unfit::Superseded { .. } => "say it anew, so that it is the later word",
        Unfit::Unsigned => {
            "`--key FILE` signs it; `--print` shows the text for `ssh-keygen -Y sign`, and `--signature` hands that in"
        }
        Unfit::NoSigners => "leave `--key`, `--print` and `--signature` out",
        Unfit::OtherPurpose { .. } => {
            "`ssh-keygen -Y sign -n fleetlift-approval` says the right one"
        }
        Unfit::UnknownKey { .. } | Unfit::OtherKey { .. } => {
            "allowed signers are a part of the plan; is this the right key, and the right `--as`?"
        }
        Unfit::Revoked { .. } | Unfit::KeyOutOfTime { .. } => {
            "another key of the same person may sign, where the plan knows one"
        }
        Unfit::Unreadable { .. } | Unfit::Forged => {
            "sign the text anew, byte for byte as `--print` wrote it"
        }
    };
    CliError::refused(format!("{doing} of wave {} does not count: {error}", said.wave)).hint(hint)
}

/// Records it, and says what the gate lacks then.
fn hand_over(
    target: &Target,
    (number, rule): (usize, &Rule),
    approval: Approval,
) -> Result<String, CliError> {
    let said = approval.statement.clone();
    let key = approval.key().map_or_else(String::new, |key| format!(" with the key {key}"));
    let (plan, _) = target.parts();
    let (does, until) = match (said.decision, good_until(plan, &approval)) {
        (Decision::Approve, Some(at)) => ("approves", format!(", until {at}")),
        (Decision::Approve, None) => ("approves", String::new()),
        (Decision::Reject, _) => ("rejects", String::new()),
    };
    let gate_of = |state: &RunState| state.waves[number].gate.clone();
    let (of, gate, afterwards) = match target {
        Target::Run(store, seen) => {
            let ask = Ask::Decide { approval: Arc::new(approval) };
            let answer = requests::ask(store, &seen.run, &ask)?;
            let seen = common::read(store, seen.run.clone())?;
            let after = match answer {
                Answer::Taken => String::new(),
                Answer::Noted | Answer::Nobody => {
                    let program = common::program(store);
                    let run = &seen.run;
                    format!(
                        "Nobody drives the run now; `{program} resume {run}` goes on with this.\n"
                    )
                }
            };
            (format!("run {}", seen.run), gate_of(&seen.state), after)
        }
        Target::Plan(file, known) => {
            let beside = write_beside(file, &approval)?;
            let (plan, mut state) = (&known.0, known.1.clone());
            state.take_word(plan, &approval).map_err(|error| unfit(&said, &error))?;
            let shown = one_line(&beside.to_string_lossy()).into_owned();
            let after = format!("It stands in {shown}; `fleetlift apply` takes it from there.\n");
            (format!("plan {}", said.plan), gate_of(&state), after)
        }
    };
    let gate = match gate.lack(rule, SystemClock.now()) {
        None => "The gate is open.".to_owned(),
        Some(lack) => format!("The gate is closed: {lack}."),
    };
    let line = format!("{} {does} wave {} of {of}{until}{key}.", said.principal, said.wave);
    Ok(format!("{}\n{}\n{afterwards}", one_line(&line), one_line(&gate)))
}

/// A line of the file beside a saved plan.
#[derive(Debug, Serialize, Deserialize)]
struct Beside {
    approval: Approval,
    by: String,
}

fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ENDING);
    PathBuf::from(name)
}

fn read_beside(file: &Path) -> Result<Vec<Beside>, CliError> {
    let path = beside(file);
    let shown = one_line(&path.to_string_lossy()).into_owned();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(CliError::usage(format!("{shown} cannot be read")).cause(&error));
        }
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| {
                let number = number + 1;
                CliError::usage(format!("line {number} of {shown} is not an approval"))
                    .cause(&error)
                    .hint("take the line out, and approve again")
            })
        })
        .collect()
}

/// Adds it with one write, so that two who approve at once are both there.
fn write_beside(file: &Path, approval: &Approval) -> Result<PathBuf, CliError> {
    let path = beside(file);
    let shown = one_line(&path.to_string_lossy()).into_owned();
    let fail = |error: &dyn std::error::Error| {
        CliError::usage(format!("{shown} cannot be written")).cause(error)
    };
    let line = Beside { approval: approval.clone(), by: common::operator() };
    let line = serde_json::to_string(&line).map_err(|e| fail(&e))?;
    let mut out = File::options().append(true).create(true).open(&path).map_err(|e| fail(&e))?;
    let whole = format!("{line}\n");
    out.write_all(whole.as_bytes()).and_then(|()| out.sync_all()).map_err(|e| fail(&e))?;
    Ok(path)
}

/// What was said of a saved plan before this run of it, as records. What does not count is told, and left out.
pub fn ahead(file: &Path, plan: &Plan, digest: &str) -> Result<Vec<Event>, CliError> {
    let mut state = RunState::new(plan);
    digest.clone_into(&mut state.digest);
    let now = SystemClock.now();
    let mut events = Vec::new();
    for Beside { approval, by } in read_beside(file)? {
        let counts = check(plan, &state, None, &approval, now)
            .and_then(|()| state.take_word(plan, &approval));
        match counts {
            Ok(()) => {
                let approval = Arc::new(approval);
                events.push(Event::GateDecided { approval, by, request: None });
            }
            Err(error) => {
                let who = &approval.statement.principal;
                let line = format!(
                    "note: the word of {who} in {} is left out: {error}",
                    beside(file).display()
                );
                common::complain(&format!("{}\n", one_line(&line)));
            }
        }
    }
    Ok(events)
}

/// Checks what the fold cannot know: that each approval is of this run. Returns how many there are, and how many of them
/// are signed; their signatures were checked by the fold.
pub fn verify(seen: &Seen) -> Result<(usize, usize), CliError> {
    let (mut all, mut signed) = (0, 0);
    for (seq, approval) in &seen.approvals {
        approval.statement.check_run(&seen.run).map_err(|error| {
            CliError::usage(format!("record {seq} of run {} does not belong there", seen.run))
                .cause(&error)
        })?;
        all += 1;
        signed += usize::from(approval.signature.is_some());
    }
    Ok((all, signed))
}
