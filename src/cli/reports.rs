//! `report` and `journal`: what a run leaves behind.

use super::{
    args::{Common, JournalArgs, ReportArgs, ReportFormat},
    common::{self, Candidates},
    error::CliError,
    gates,
};
use crate::{
    base::text::safe_json,
    report::{self, Report},
};
use std::{fs, io::Write, path::Path, process::ExitCode};

pub fn report(common: &Common, args: &ReportArgs) -> Result<ExitCode, CliError> {
    let store = common::store(common)?;
    let run = common::find(&store, args.run.as_deref(), Candidates::Latest)?;
    let (seen, records) = common::read_whole(&store, run)?;
    let made = Report::build(&seen.plan, &seen.digest, &seen.run, &records);
    let text = match args.format {
        ReportFormat::Html => report::html(&made),
        ReportFormat::Md => report::markdown(&made),
        ReportFormat::Json => report::json(&made),
    };
    match &args.file {
        None => common::print(&text),
        Some(file) => write_whole(file, &text, Mode::Shared)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its owner alone.
    Private,
    /// Everybody.
    Shared,
}

/// Writes a file so that it is there whole or not at all.
pub fn write_whole(file: &Path, text: &str, mode: Mode) -> Result<(), CliError> {
    use std::os::unix::fs::PermissionsExt;
    let fail = |error: &dyn std::error::Error| {
        CliError::usage(format!("cannot write {}", file.display())).cause(error)
    };
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    };
    let mut whole = tempfile::NamedTempFile::new_in(dir).map_err(|e| fail(&e))?;
    whole.write_all(text.as_bytes()).map_err(|e| fail(&e))?;
    // A temporary file is for its owner's eyes.
    if mode == Mode::Shared {
        let mode = fs::Permissions::from_mode(0o644);
        whole.as_file().set_permissions(mode).map_err(|e| fail(&e))?;
    }
    whole.as_file().sync_all().map_err(|e| fail(&e))?;
    whole.persist(file).map_err(|e| fail(&e))?;
    Ok(())
}

pub fn journal(common: &Common, args: &JournalArgs) -> Result<ExitCode, CliError> {
    let store = common::store(common)?;
    let run = common::find(&store, args.run.as_deref(), Candidates::Latest)?;
    let reader = store.read(&run)?;
    if args.verify {
        let (last, records) = reader.verify()?;
        // The fold is checked too: a chain of illegal records is whole, and wrong all the same.
        let seen = common::read(&store, run.clone())?;
        let (approvals, signed) = gates::verify(&seen)?;
        let approvals = match approvals {
            0 => String::new(),
            n => format!("; {n} words about gates, {signed} with a signature that is right"),
        };
        common::print(&format!(
            "run {run}: {records} records, whole; the chain ends with {last}{approvals}\n"
        ));
        return Ok(ExitCode::SUCCESS);
    }
    reader.each_line(0, |json, _| {
        common::print(&format!("{}\n", safe_json(json)));
        Ok(())
    })?;
    Ok(ExitCode::SUCCESS)
}
