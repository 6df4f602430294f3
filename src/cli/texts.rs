//! `schema`, `completions`, `man`: texts about the program itself.

use super::{
    args::{Cli, Common, CompletionsArgs, SchemaArgs, SchemaOf},
    common,
    error::CliError,
};
use crate::{inventory, journal, playbook, report, rollout};
use clap::CommandFactory;
use std::process::ExitCode;

pub fn schema(_: &Common, args: &SchemaArgs) -> Result<ExitCode, CliError> {
    let schema = match args.of {
        SchemaOf::Inventory => inventory::schema(),
        SchemaOf::Playbook => playbook::schema(),
        SchemaOf::Rollout => rollout::schema(),
        SchemaOf::Events => journal::schema(),
        SchemaOf::Report => report::schema(),
    };
    common::print(&format!("{schema:#}\n"));
    Ok(ExitCode::SUCCESS)
}

pub fn completions(args: &CompletionsArgs) -> Result<ExitCode, CliError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "fleetlift", &mut text);
    common::print(&String::from_utf8_lossy(&text));
    Ok(ExitCode::SUCCESS)
}

pub fn man() -> Result<ExitCode, CliError> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut text)
        .map_err(|error| CliError::usage("the manual page cannot be made").cause(&error))?;
    common::print(&String::from_utf8_lossy(&text));
    Ok(ExitCode::SUCCESS)
}
