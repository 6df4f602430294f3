//! `run`, `resume`, `rollback`: the verbs that change hosts.

use super::{
    args::{Common, ResumeArgs, RollbackArgs, RunArgs, What},
    calendar::{calendar, calendar_of, measured},
    common::{self, Candidates, Seen},
    driving::{self, Aim, Ready},
    error::CliError,
    gates, saved,
};
use crate::{
    base::{
        fault::Faults,
        name::HostName,
        name::RunId,
        phase::Phase,
        text::fold_names,
        time::{Clock, SystemClock, Timestamp},
    },
    engine,
    inventory::{self, Inventory, Selection},
    journal::{End, Store},
    plan::{self, Plan},
    playbook, rollout,
    run::{HostPhase, RunState},
};
use std::{
    collections::BTreeSet,
    io::{BufRead, IsTerminal},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

/// The selection of who says nothing.
pub const ALL: &str = "@all";

/// A plan with the text that it is known by.
pub struct Planned {
    pub plan: Plan,
    pub text: String,
    pub digest: String,
}

/// Reads every file and builds the plan. All faults of all files come at once.
pub fn make_plan(what: &What) -> Result<Planned, CliError> {
    let path = &what.fleet.inventory;
    let inventory = inventory::read(path);
    let playbook = playbook::read(&what.playbook);
    let rollout = rollout_of(path);
    let (inventory, playbook, rollout) = match (inventory, playbook, rollout) {
        (Ok(inventory), Ok(playbook), Ok(rollout)) => (inventory, playbook, rollout),
        (inventory, playbook, rollout) => {
            let mut faults = Vec::new();
            faults.extend(inventory.err().into_iter().flat_map(|f| f.0));
            faults.extend(rollout.err().into_iter().flat_map(|f| f.0));
            faults.extend(playbook.err().into_iter().flat_map(|f| f.0));
            return Err(Faults(faults).into());
        }
    };
    let selection = what.limit.as_deref().unwrap_or(ALL);
    let selected = select(&inventory, selection)?;
    let mut plan = plan::build(&inventory, &playbook, &rollout, selection, &selected)?;
    saved::note_origin(&mut plan, what);
    seal(plan)
}

/// Gives a plan the text and digest that it is known by.
pub fn seal(plan: Plan) -> Result<Planned, CliError> {
    let text = serde_json::to_string(&plan)
        .map_err(|error| CliError::usage("the plan cannot be written").cause(&error))?;
    let digest = crate::base::digest::digest(text.as_bytes());
    Ok(Planned { plan, text, digest })
}

/// The rollout of the fleet folder, or the default one.
pub fn rollout_of(fleet: &Path) -> Result<rollout::Rollout, Faults> {
    inventory::fleet_folder(fleet)
        .map_or_else(|| Ok(rollout::Rollout::default()), |folder| rollout::of_fleet(&folder))
}

pub fn select(inventory: &Inventory, text: &str) -> Result<BTreeSet<HostName>, CliError> {
    let found = Selection::parse(text).and_then(|selection| selection.select(inventory));
    found.map(|hosts| hosts.into_iter().collect()).map_err(|error| bad_selection(text, &error))
}

fn bad_selection(text: &str, error: &inventory::SelectionError) -> CliError {
    let said = CliError::usage(format!("the selection `{text}`: {error}"));
    match &error.hint {
        Some(hint) => said.hint(hint),
        None => said,
    }
}

/// `run`: plan, ask, execute.
pub fn run(common: &Common, args: &RunArgs) -> Result<ExitCode, CliError> {
    let planned = measured(common, make_plan(&args.what)?)?;
    let calendar = calendar(&args.what, &planned.plan, SystemClock.now())?;
    if args.dry_run {
        let text = crate::report::plan_text(
            &planned.plan,
            &planned.digest,
            common.verbose > 0,
            common.colours_output(),
        );
        common::print(&text);
        let colours = common.colours_output();
        common::print(&crate::report::calendar_text(&planned.plan, &calendar, colours));
        return Ok(ExitCode::SUCCESS);
    }
    execute(common, planned, None, args.yes, args.no_wait)
}

/// Shows the plan, asks, and executes it. Beside the file of a saved plan stands what was said of it before this run.
pub fn execute(
    common: &Common,
    planned: Planned,
    saved: Option<&Path>,
    yes: bool,
    no_wait: bool,
) -> Result<ExitCode, CliError> {
    let calendar = calendar_of(&planned.plan, SystemClock.now())?;
    let store = common::store(common)?;
    common::keep_apart(&store, None, &planned.plan)?;
    let hosts = planned.plan.hosts.len();
    if !yes {
        let text = crate::report::plan_text(
            &planned.plan,
            &planned.digest,
            common.verbose > 0,
            common.colours_errors(),
        );
        common::complain(&text);
        let colours = common.colours_errors();
        common::complain(&crate::report::calendar_text(&planned.plan, &calendar, colours));
    }
    let what = format!("This changes {}.", count(hosts));
    confirm(yes, &what, hosts, Some(&planned.digest))?;
    // Read after the answer: what somebody said while it was waited for counts.
    let ahead = saved.map(|file| gates::ahead(file, &planned.plan, &planned.digest)).transpose()?;
    let mut ready = Ready { no_wait, ..begin(store, planned)? };
    ready.first.extend(ahead.unwrap_or_default());
    driving::block_on(driving::drive(common, ready))?
}

/// Makes the run in the store.
pub fn begin(store: Store, planned: Planned) -> Result<Ready, CliError> {
    let secrets = driving::secrets(&planned.plan)?;
    let run = new_run_id()?;
    let journal = store.create(&run, &planned.text, &planned.digest)?;
    let state = RunState::new(&planned.plan);
    let first = engine::opening(&planned.plan, &planned.digest, &state, &driver());
    let (plan, digest) = (Arc::new(planned.plan), planned.digest);
    Ok(Ready {
        store,
        run,
        plan,
        digest,
        journal,
        state,
        first: first.into_iter().collect(),
        not_left: Vec::new(),
        secrets,
        aim: None,
        no_wait: false,
    })
}

fn new_run_id() -> Result<RunId, CliError> {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's hasher is seeded by the system, which is chance enough for a name.
    let chance = std::collections::hash_map::RandomState::new().build_hasher().finish();
    run_id(SystemClock.now(), chance)
}

/// A name that sorts by the instant it was made at: to the minute for people, then four letters for the millisecond and
/// a little chance.
fn run_id(now: Timestamp, chance: u64) -> Result<RunId, CliError> {
    // In the order of their codes, without those that are taken for one another.
    const LETTERS: &[u8] = b"23456789abcdefghjkmnpqrstuvwxyz";
    // As many as the 31^4 tails have for each of a minute's 60,000 milliseconds.
    const CHANCES: u64 = 15;
    let digits: String = now.to_string().chars().filter(char::is_ascii_digit).take(12).collect();
    let (date, time) = digits.split_at(8);
    let in_minute = now.as_millis().rem_euclid(60_000).unsigned_abs();
    let mut left = in_minute * CHANCES + chance % CHANCES;
    let mut tail = [b'2'; 4];
    for letter in tail.iter_mut().rev() {
        *letter = LETTERS[(left % LETTERS.len() as u64) as usize];
        left /= LETTERS.len() as u64;
    }
    let tail = String::from_utf8_lossy(&tail);
    format!("{date}-{time}-{tail}")
        .parse()
        .map_err(|error| CliError::usage("a run's name cannot be made").cause(&error))
}

/// So many digits of a digest are typed by nobody who has not read it.
const DIGITS_MIN: usize = 8;

/// Asks for the number of hosts, or for the plan's digest: what a hand types without reading is not a yes.
fn confirm(yes: bool, what: &str, hosts: usize, digest: Option<&str>) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(CliError::usage("there is no terminal to ask on")
            .hint("read the plan with `fleetlift plan`, then give --yes"));
    }
    let or = if digest.is_some() { ", or the beginning of the plan's digest," } else { "" };
    common::complain(&format!("{what} Type the number of hosts{or} to go on: "));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && (line.trim() == hosts.to_string() || names(digest, line.trim())) {
        return Ok(());
    }
    Err(CliError::usage("not confirmed; no host was contacted"))
}

/// Whether what was typed is enough of this digest, with or without its `sha256:`.
fn names(digest: Option<&str>, typed: &str) -> bool {
    let typed = typed.strip_prefix("sha256:").unwrap_or(typed);
    let digits = digest.and_then(|digest| digest.strip_prefix("sha256:"));
    typed.len() >= DIGITS_MIN && digits.is_some_and(|digits| digits.starts_with(typed))
}

fn count(hosts: usize) -> String {
    if hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") }
}

/// `resume`: goes on from the journal, with the run's own frozen plan.
pub fn resume(common: &Common, args: &ResumeArgs) -> Result<ExitCode, CliError> {
    let store = common::store(common)?;
    let run = common::find(&store, args.run.as_deref(), Candidates::Resumable)?;
    let journal = store.take_over(&run)?;
    let seen = common::read(&store, run)?;
    // Whoever goes on from a journal must be able to trust every record of it.
    seen.reader.verify()?;
    gates::verify(&seen)?;
    let not_left = engine::not_left(&seen.plan, &seen.state, &seen.reader.left()?);
    let first = engine::opening(&seen.plan, &seen.digest, &seen.state, &driver());
    if first.is_none() && not_left.is_empty() {
        return Err(CliError::refused(format!("run {} is finished", seen.run))
            .hint(format!("`fleetlift report {}` shows how it went", seen.run)));
    }
    if first.is_none() {
        common::complain(&format!(
            "Run {} is finished, but its controller was gone before it had said that it left {}: {}. They are given back now.\n",
            seen.run,
            count(not_left.len()),
            fold_names(not_left.iter().map(|host| seen.plan.hosts[*host].name.as_str())),
        ));
    }
    common::keep_apart(&store, Some(&seen.run), &seen.plan)?;
    say_what_changed(&seen);
    let secrets = driving::secrets(&seen.plan)?;
    let Seen { run, plan, digest, state, .. } = seen;
    let (plan, first) = (Arc::new(plan), first.into_iter().collect());
    let (aim, no_wait) = (None, args.no_wait);
    let ready =
        Ready { store, run, plan, digest, journal, state, first, not_left, secrets, aim, no_wait };
    driving::block_on(driving::drive(common, ready))?
}

fn driver() -> engine::Driver {
    engine::Driver { operator: common::operator(), controller: common::controller() }
}

/// A run keeps to its own plan; who edited the files since should know that.
fn say_what_changed(seen: &Seen) {
    let Some((stale, _)) = saved::stale(&seen.plan, &seen.digest) else { return };
    let here = std::env::current_dir().ok();
    common::complain(&format!(
        "note: what the plan was made from changed since; the run goes on with the plan that it began with\n{}",
        crate::report::stale_text(&stale, here.as_deref())
    ));
}

/// `rollback`: by the playbook's own steps, hop by hop, back to where the host began.
pub fn rollback(common: &Common, args: &RollbackArgs) -> Result<ExitCode, CliError> {
    reopen(common, args, Phase::Rollback)
}

/// `commit`: removes what a rollback would need.
pub fn commit(common: &Common, args: &RollbackArgs) -> Result<ExitCode, CliError> {
    reopen(common, args, Phase::Commit)
}

/// Takes up hosts that have ended, for a phase that no host enters by itself.
fn reopen(common: &Common, args: &RollbackArgs, phase: Phase) -> Result<ExitCode, CliError> {
    let (does, fits): (_, fn(&Plan, &RunState, usize) -> bool) = match phase {
        Phase::Commit => ("commits", engine::can_commit),
        _ => ("rolls back", engine::can_roll_back),
    };
    let hint = match phase {
        Phase::Commit => "only migrated hosts, by a playbook that has commit steps",
        _ => "only hosts that were changed, by a playbook that has rollback steps",
    };
    let store = common::store(common)?;
    let run = common::find(&store, args.run.as_deref(), Candidates::Only)?;
    let journal = store.take_over(&run)?;
    let seen = common::read(&store, run)?;
    seen.reader.verify()?;
    common::keep_apart(&store, Some(&seen.run), &seen.plan)?;
    say_what_changed(&seen);
    let chosen = chosen(&seen, args.hosts.as_deref())?;
    if phase == Phase::Commit {
        too_early_to_commit(&seen, &chosen)?;
    }
    let (able, unable): (Vec<usize>, Vec<usize>) =
        chosen.into_iter().partition(|host| fits(&seen.plan, &seen.state, *host));
    let names =
        |hosts: &[usize]| fold_names(hosts.iter().map(|host| seen.plan.hosts[*host].name.as_str()));
    if !unable.is_empty() && args.hosts.is_some() {
        let message = format!("not possible for {}", names(&unable));
        return Err(CliError::refused(message).hint(hint));
    }
    if able.is_empty() {
        return Err(CliError::refused("not possible for any host of the run").hint(hint));
    }
    let what = format!("This {does} {}: {}.", count(able.len()), names(&able));
    confirm(args.yes, &what, able.len(), None)?;
    let secrets = driving::secrets(&seen.plan)?;
    let first = engine::reopening(&seen.plan, &able, phase, &driver());
    let mut not_left = engine::not_left(&seen.plan, &seen.state, &seen.reader.left()?);
    not_left.retain(|host| !able.contains(host));
    let Seen { run, plan, digest, state, .. } = seen;
    let plan = Arc::new(plan);
    let end = if phase == Phase::Commit { End::Committed } else { End::RolledBack };
    let aim = Some(Aim { hosts: able, end });
    let no_wait = false;
    let ready =
        Ready { store, run, plan, digest, journal, state, first, not_left, secrets, aim, no_wait };
    driving::block_on(driving::drive(common, ready))?
}

/// After a commit there is no way back: it waits until the hosts have soaked, and until nobody is in doubt about any of them.
fn too_early_to_commit(seen: &Seen, chosen_hosts: &[usize]) -> Result<(), CliError> {
    let (plan, state) = (&seen.plan, &seen.state);
    let now = SystemClock.now();
    for (number, (wave, at)) in plan.waves.iter().zip(&state.waves).enumerate() {
        let chosen = |host: &usize| at.migrated.contains(host) && plan.hosts[*host].wave == number;
        if at.finished || !chosen_hosts.iter().any(chosen) {
            continue;
        }
        // Hosts that are still to come would begin the soak anew; without them, too, those that are migrated are watched so long.
        let Some(until) = at.ended.zip(wave.soak).map(|(ended, soak)| ended + soak) else {
            continue;
        };
        let name = &wave.name;
        let why = if until > now {
            format!("wave {name} soaks until {until}")
        } else if state.watches.is_in_doubt(wave) {
            format!("the health of wave {name} has no good answer")
        } else {
            continue;
        };
        return Err(CliError::refused(why)
            .hint("after a commit there is no way back; other waves are named by --hosts"));
    }
    let in_doubt = |host: &&usize| {
        let at = &state.hosts[**host];
        at.is_touched(plan)
            && match at.phase {
                HostPhase::Ended(End::NeedsHands | End::Unreachable) => true,
                HostPhase::Ended(
                    End::Migrated
                    | End::Committed
                    | End::Already
                    | End::Blocked
                    | End::Failed
                    | End::RolledBack,
                ) => false,
                HostPhase::Pending
                | HostPhase::Idle
                | HostPhase::Running { .. }
                | HostPhase::Waiting { .. }
                | HostPhase::Resting { .. } => true,
            }
    };
    let doubtful = chosen_hosts.iter().filter(in_doubt).map(|host| plan.hosts[*host].name.as_str());
    let names = fold_names(doubtful);
    if names.is_empty() {
        return Ok(());
    }
    Err(CliError::refused(format!("changed, and not verified: {names}"))
        .hint("`--hosts state=migrated` commits only those that are"))
}

/// The hosts of a run that a selection names; all of them without one.
pub fn chosen(seen: &Seen, selection: Option<&str>) -> Result<Vec<usize>, CliError> {
    let Some(text) = selection else { return Ok((0..seen.plan.hosts.len()).collect()) };
    let inventory = as_inventory(&seen.plan);
    let word = words(&seen.state);
    let found = Selection::parse(text).and_then(|s| s.select_with(&inventory, &word));
    let hosts = found.map_err(|error| bad_selection(text, &error))?;
    Ok(hosts.iter().filter_map(|name| seen.state.host(name)).collect())
}

/// The state of a host by its word, for selections.
fn words(state: &RunState) -> impl for<'n> Fn(&'n HostName) -> Option<&'n str> {
    |name| state.host(name).map(|host| state.hosts[host].word())
}

/// The plan's hosts and groups, for selections.
fn as_inventory(plan: &Plan) -> Inventory {
    let mut inventory = Inventory::default();
    for host in &plan.hosts {
        for group in &host.groups {
            inventory.groups.entry(group.clone()).or_default().hosts.push(host.name.clone());
        }
        inventory.hosts.insert(
            host.name.clone(),
            inventory::Host {
                name: host.name.clone(),
                groups: host.groups.clone(),
                vars: host.vars.clone(),
                labels: host.labels.clone(),
                connection: Arc::clone(&plan.connections[host.connection]),
                addresses: host.addresses.clone(),
            },
        );
    }
    inventory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_named_by_enough_of_its_digest() {
        let digest = Some("sha256:0123456789abcdef");
        for typed in ["01234567", "sha256:01234567", "0123456789abcdef"] {
            assert!(names(digest, typed), "{typed}");
        }
        for typed in ["", "0123456", "sha256:", "123456789", "0123456789abcdef0", "1"] {
            assert!(!names(digest, typed), "{typed}");
        }
        assert!(!names(None, "01234567"));
    }

    #[test]
    fn a_later_run_sorts_after_an_earlier_one_whatever_chance_says() {
        let start = Timestamp::from_millis(1_795_260_720_000);
        let at = |millis: i64| Timestamp::from_millis(start.as_millis() + millis);
        let instants = [0, 1, 2, 999, 1000, 15_000, 59_998, 59_999, 60_000, 60_001, 3_600_000];
        for pair in instants.windows(2) {
            let earlier = run_id(at(pair[0]), u64::MAX).unwrap();
            let later = run_id(at(pair[1]), 0).unwrap();
            assert!(earlier < later, "{earlier} at {} ms, {later} at {} ms", pair[0], pair[1]);
        }
        assert_ne!(run_id(at(7), 1).unwrap(), run_id(at(7), 2).unwrap());
    }
}
