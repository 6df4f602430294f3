//! Measures fleetlift beside a bare SSH loop that does the same work on the same server, and prints ratios.
//!
//! This program is all of the processes that are measured: called `fleetlift` it is the product, with `bare` the loop, with
//! `steps` durable steps alone, with `serve` the hosts, and else it starts these one after the other and waits for them. So nothing that is measured can be
//! of another build than the rest.

mod bare;
mod child;
mod decide;
mod fleet;
mod rows;
mod serve;
mod steps;
mod table;

use std::{env, error::Error, path::Path, process::ExitCode};

/// Errors end the program with their text: it has one reader, at a terminal.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "\
Usage: fleetlift-bench [--quick] [--only TEXT] [--no-file]
       fleetlift-bench decide [HOSTS]

Measures fleetlift beside a bare SSH loop and writes the table to docs/performance.md.

  --quick       a tenth of the hosts, and one round, to see that it works; writes no file
  --only TEXT   only rows whose name contains TEXT; writes no file
  --no-file     prints only
  decide        what a decision costs in a run of 10,000 hosts with failure domains, without hosts; prints only
";

fn main() -> ExitCode {
    let mut arguments = env::args();
    let name = arguments.next().unwrap_or_default();
    if Path::new(&name).file_name().is_some_and(|name| name == child::PRODUCT) {
        return fleetlift::cli::main();
    }
    let arguments: Vec<String> = arguments.collect();
    let done = match arguments.first().map(String::as_str) {
        Some("bare") => bare::main(&arguments[1..]),
        Some("serve") => serve::main(&arguments[1..]),
        Some("steps") => steps::main(&arguments[1..]),
        Some("decide") => decide::main(&arguments),
        Some("-h" | "--help") => {
            print!("{USAGE}");
            Ok(())
        }
        _ => rows::main(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The value of `--name`, where it is given.
fn value<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).map(String::as_str)
}

/// A number that must be given.
fn number(arguments: &[String], name: &str) -> Result<usize> {
    let text = value(arguments, name).ok_or_else(|| format!("{name} is missing"))?;
    text.parse().map_err(|error| format!("{name} {text}: {error}").into())
}
