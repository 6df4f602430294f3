//! Saved plans: `plan -o` writes one, `apply` executes it, where nothing that it was made from has changed.

use super::{
    args::{ApplyArgs, Common, Fleet, What},
    calendar::calendar_of,
    common,
    error::CliError,
    exec_run::{self, Planned, make_plan},
    reports::{Mode, write_whole},
};
use crate::{
    base::{
        anchor::absolute, digest::digest, fault::Source, shape::meaning, text::one_line,
        time::Clock, time::SystemClock,
    },
    plan::{
        self, Found, Input, Origin, PROGRAM, Plan, Saved, SavedError, Stale, compare_inputs,
        differences,
    },
    playbook, report,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Gives the plan's inputs the names by which they are found from every folder, and notes what the operator named.
pub fn note_origin(plan: &mut Plan, what: &What) {
    for input in plan.inputs.iter_mut().filter(|input| !playbook::is_shipped(&input.path)) {
        input.path = named(&input.path);
    }
    let fleet = &what.fleet.inventory;
    let fleet = crate::inventory::fleet_folder(fleet).unwrap_or_else(|| fleet.clone());
    let playbook = match playbook::is_name(&what.playbook) {
        true => what.playbook.clone(),
        false => named(Path::new(&what.playbook)).to_string_lossy().into_owned(),
    };
    plan.origin = Some(Origin { inventory: named(&fleet), playbook });
}

/// The absolute name of a path. A plan is JSON, and JSON is Unicode: below a folder whose name is not, it stays as it was
/// said.
fn named(path: &Path) -> PathBuf {
    let whole = absolute(path);
    if whole.to_str().is_some() { whole } else { path.to_owned() }
}

/// `plan -o`: writes the plan, whole or not at all, for its owner's eyes: it holds every script and every uploaded file.
pub fn save(planned: &Planned, file: &Path) -> Result<(), CliError> {
    let shown = one_line(&file.to_string_lossy()).into_owned();
    let target = absolute(file);
    let inputs = planned.plan.inputs.iter().filter(|input| !playbook::is_shipped(&input.path));
    for input in inputs {
        if input.path == target {
            return Err(CliError::usage(format!("the plan is made from {shown}"))
                .hint("name another file after `-o`; nothing was written"));
        }
        if !fs::metadata(&input.path).is_ok_and(|found| found.is_file()) {
            let input = one_line(&input.path.to_string_lossy()).into_owned();
            return Err(CliError::usage(format!(
                "the plan cannot be saved: {input} is no file that can be read again"
            ))
            .hint("write it to a file, and plan from that"));
        }
    }
    if fs::metadata(&target).is_ok_and(|found| !found.is_file()) {
        return Err(CliError::usage(format!("{shown} is not a file"))
            .hint("`--json` prints the plan; `-o` names a file"));
    }
    let text = plan::write_saved(&planned.text, &planned.digest)
        .map_err(|error| CliError::usage("the plan cannot be written").cause(&error))?;
    write_whole(file, &text, Mode::Private)?;
    common::complain(&format!(
        "Saved in {shown}. `fleetlift apply {}` executes it, and nothing else.\n",
        word(&file.to_string_lossy())
    ));
    Ok(())
}

/// `apply`: executes exactly a saved plan, or says why not.
pub fn apply(common: &Common, args: &ApplyArgs) -> Result<ExitCode, CliError> {
    let saved = read(&args.file)?;
    let calendar = calendar_of(&saved.plan, SystemClock.now());
    if args.dry_run {
        let scripts = common.verbose > 0;
        let colours = common.colours_output();
        let text = report::plan_text(&saved.plan, &saved.digest, scripts, colours);
        common::print(&text);
        // One that can never end any more is told so below, after what has changed.
        if let Ok(calendar) = &calendar {
            common::print(&report::calendar_text(&saved.plan, calendar, colours));
        }
    }
    if saved.program != PROGRAM {
        let message = format!(
            "the plan was made by fleetlift {}, this is {PROGRAM}",
            one_line(&saved.program)
        );
        return Err(CliError::refused(message).hint(anew(&saved.plan, &args.file)));
    }
    refuse_if_stale(&saved, &args.file)?;
    if args.dry_run {
        calendar?;
        common::complain("Nothing has changed since: it can be applied.\n");
        return Ok(ExitCode::SUCCESS);
    }
    let Saved { plan, text, digest, .. } = saved;
    let planned = Planned { plan, text, digest };
    exec_run::execute(common, planned, Some(&args.file), args.yes, args.no_wait)
}

/// Reads a saved plan.
pub fn read(file: &Path) -> Result<Saved, CliError> {
    let shown = one_line(&file.to_string_lossy()).into_owned();
    let bytes = fs::read(file).map_err(|error| {
        let said = CliError::usage(format!("the saved plan {shown} cannot be read"));
        match error.kind() {
            io::ErrorKind::NotFound => CliError::usage(format!("there is no saved plan {shown}"))
                .hint(format!("`fleetlift plan -i FLEET -p PLAYBOOK -o {shown}` saves one")),
            io::ErrorKind::IsADirectory => {
                CliError::usage(format!("{shown} is a folder, not a saved plan"))
            }
            io::ErrorKind::PermissionDenied => said
                .cause(&error)
                .hint("a saved plan is for its owner's eyes: it holds scripts and uploaded files"),
            _ => said.cause(&error),
        }
    })?;
    plan::read_saved(&bytes).map_err(|error| bad_file(&shown, error))
}

fn bad_file(shown: &str, error: SavedError) -> CliError {
    let message = format!("{shown}: {error}");
    let again = "nothing was contacted; save it anew with `fleetlift plan … -o`";
    match &error {
        SavedError::NoPlan => CliError::usage(message).hint(
            "`fleetlift plan … -o FILE` saves a plan; `run` takes an inventory and a playbook",
        ),
        SavedError::Format { .. } => CliError::refused(message)
            .hint("use the version of fleetlift that saved it, or save it anew with this one"),
        SavedError::CutOff { .. } => CliError::usage(message)
            .hint("copy the file again, or save it anew with `fleetlift plan … -o`"),
        SavedError::Edited { .. } => CliError::usage(message).hint(format!(
            "a saved plan is not edited: change the files that it is made from. {again}"
        )),
        SavedError::Unreadable(cause) => CliError::usage(message).cause(cause).hint(again),
    }
}

/// Refuses a plan whose inputs are not what they were, and says what that changes.
fn refuse_if_stale(saved: &Saved, file: &Path) -> Result<(), CliError> {
    let shown = one_line(&file.to_string_lossy()).into_owned();
    if saved.plan.origin.is_none() {
        return Err(CliError::usage(format!("{shown} does not say what it was made from"))
            .hint("`fleetlift plan … -o FILE` saves a plan that does"));
    }
    let Some((stale, faults)) = stale(&saved.plan, &saved.digest) else { return Ok(()) };
    let message = match stale.files.len() {
        0 => format!("the plan in {shown} is stale, although none of its files changed"),
        1 => format!("the plan in {shown} is stale: a file that it was made from changed"),
        n => format!("the plan in {shown} is stale: {n} files that it was made from changed"),
    };
    let here = std::env::current_dir().ok();
    let mut body = report::stale_text(&stale, here.as_deref());
    if let Some(faults) = faults {
        body.push_str("  no plan can be made of them now:\n");
        body.extend(faults.render(false).lines().map(|line| format!("    {line}\n")));
    } else if stale.files.is_empty() {
        // The digest is what counts, also where nothing that has a name differs.
        body.push_str("  a home folder, or another build of fleetlift, can be the reason\n");
    }
    Err(CliError::refused(message).body(body).hint(anew(&saved.plan, file)))
}

/// What became of a plan's inputs since it was made, and why no plan can be made of them now, where none can. `None` where
/// they make the very same plan; or, for a plan that does not say how it was made, where its files are as they were.
pub fn stale(plan: &Plan, digest: &str) -> Option<(Stale, Option<CliError>)> {
    let Some(origin) = &plan.origin else {
        let files = compare_inputs(&plan.inputs, None, find);
        return (!files.is_empty()).then_some((Stale { files, changes: None }, None));
    };
    let what = What {
        fleet: Fleet { inventory: origin.inventory.clone() },
        playbook: origin.playbook.clone(),
        limit: Some(plan.selection.clone()),
    };
    // What runs before have measured is no input of an operator's: it may have changed.
    let bare = match exec_run::seal(plan.unmeasured()) {
        Ok(bare) => bare,
        Err(error) => return Some((Stale { files: Vec::new(), changes: None }, Some(error))),
    };
    let now = match make_plan(&what) {
        Ok(now) if now.digest == digest || now.digest == bare.digest => return None,
        Ok(now) => now.plan,
        Err(faults) => {
            let files = compare_inputs(&plan.inputs, None, find);
            return Some((Stale { files, changes: None }, Some(faults)));
        }
    };
    let files = compare_inputs(&plan.inputs, Some(&now.inputs), find);
    Some(match differences(&bare.plan, &now) {
        Ok(changes) => (Stale { files, changes: Some(changes) }, None),
        Err(error) => {
            let error = CliError::usage("the plans cannot be compared").cause(&error);
            (Stale { files, changes: None }, Some(error))
        }
    })
}

/// Looks at an input.
fn find(input: &Input) -> Found {
    match playbook::input_bytes(&input.path) {
        Ok(bytes) => {
            let digest = digest(&bytes);
            // What every byte of counts has no meaning apart from them.
            let source =
                input.meaning.as_ref().and_then(|_| Source::from_read(&input.path, Ok(bytes)).ok());
            Found::Read { digest, meaning: source.as_ref().and_then(meaning) }
        }
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Found::Gone,
            io::ErrorKind::IsADirectory => Found::Folder,
            _ => Found::Unreadable { reason: error.to_string() },
        },
    }
}

/// How to make the plan anew, as a command that can be typed.
fn anew(plan: &Plan, file: &Path) -> String {
    let Some(origin) = &plan.origin else {
        return "no host was contacted; make the plan anew".to_owned();
    };
    let mut command = format!(
        "fleetlift plan -i {} -p {}",
        word(&origin.inventory.to_string_lossy()),
        word(&origin.playbook)
    );
    if plan.selection != exec_run::ALL {
        command.push_str(&format!(" --limit {}", word(&plan.selection)));
    }
    command.push_str(&format!(" -o {}", word(&file.to_string_lossy())));
    format!("no host was contacted; save it anew, read it, and apply that: {command}")
}

fn word(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| text.to_owned(), |word| word.into_owned())
}
