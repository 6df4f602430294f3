//! The command line: arguments, one file for each verb or family of verbs, errors with hints, exit codes.

mod args;
mod calendar;
mod common;
mod connect;
mod demo;
mod driving;
mod error;
mod exec_run;
mod files;
mod gates;
mod look;
mod plan;
mod reports;
mod requests;
mod saved;
mod steer;
mod texts;

use args::{Cli, Command};
use clap::Parser;
use error::CliError;
use std::process::ExitCode;

/// Runs the program on this process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for; everything else is bad usage. A closed pipe is nobody's fault.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { error::USAGE } else { 0 });
        }
    };
    common::start_log(cli.common.verbose);
    match dispatch(&cli) {
        Ok(code) => code,
        Err(error) => {
            common::complain(&error.render(cli.common.colours_errors()));
            ExitCode::from(error.code)
        }
    }
}

fn dispatch(cli: &Cli) -> Result<ExitCode, CliError> {
    let common = &cli.common;
    match &cli.command {
        Command::Demo(args) => demo::demo(common, args),
        Command::Init(args) => files::init(common, args),
        Command::Validate(args) => files::validate(common, args),
        Command::Hosts(args) => files::hosts(common, args),
        Command::Playbooks(args) => files::playbooks(common, args),
        Command::Plan(args) => plan::plan(common, args),
        Command::Run(args) => exec_run::run(common, args),
        Command::Apply(args) => saved::apply(common, args),
        Command::Resume(args) => exec_run::resume(common, args),
        Command::Stop(args) => steer::stop(common, args),
        Command::Hold(args) => steer::hold(common, args),
        Command::Release(args) => steer::release(common, args),
        Command::Tune(args) => steer::tune(common, args),
        Command::Approve(args) => gates::approve(common, args),
        Command::Reject(args) => gates::reject(common, args),
        Command::Rollback(args) => exec_run::rollback(common, args),
        Command::Commit(args) => exec_run::commit(common, args),
        Command::Status(args) => look::status(common, args),
        Command::Runs(args) => look::runs(common, args),
        Command::Log(args) => look::log(common, args),
        Command::Why(args) => look::why(common, args),
        Command::Report(args) => reports::report(common, args),
        Command::Journal(args) => reports::journal(common, args),
        Command::Schema(args) => texts::schema(common, args),
        Command::Completions(args) => texts::completions(args),
        Command::Man => texts::man(),
    }
}
