//! The arguments, as clap reads them. Their names are a contract.

use crate::{
    base::time::{Timestamp, parse_length},
    rollout::{Allowance, parse_percentage},
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{io::IsTerminal, path::PathBuf, time::Duration};

/// Moves fleets of servers from one operating system to another, over SSH, without an agent.
#[derive(Debug, Parser)]
#[command(name = "fleetlift", version, about, max_term_width = 100, after_help = AFTER)]
pub struct Cli {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER: &str = "\
Exit codes: 0 every host is migrated; 1 at least one is not; 2 bad usage or files; 3 paused, resumable; \
4 refused; 70 a bug of ours; 130 left by a second Ctrl-C or by `stop --now`.";

#[derive(Debug, Args)]
pub struct Common {
    /// Where runs are kept [default: by XDG, ~/.local/state/fleetlift]
    #[arg(long, global = true, value_name = "DIR", env = "FLEETLIFT_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// How progress is shown [default: pretty on a terminal, plain elsewhere]
    #[arg(long, global = true, value_enum)]
    pub output: Option<OutputMode>,
    /// More detail; twice for debugging
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No colours (also by NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
}

impl Common {
    /// Whether text on standard error has colours.
    pub fn colours_errors(&self) -> bool {
        !self.no_color && no_color_unset() && std::io::stderr().is_terminal()
    }

    /// Whether text on standard output has colours.
    pub fn colours_output(&self) -> bool {
        !self.no_color && no_color_unset() && std::io::stdout().is_terminal()
    }

    pub fn mode(&self) -> OutputMode {
        self.output.unwrap_or(if std::io::stderr().is_terminal() {
            OutputMode::Pretty
        } else {
            OutputMode::Plain
        })
    }
}

fn no_color_unset() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputMode {
    /// A live view on a terminal
    Pretty,
    /// A line for each thing worth one
    Plain,
    /// Each record as a line of JSON on standard output
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Migrate a simulated fleet, to see how it goes: needs no server and no configuration
    Demo(DemoArgs),
    /// Lay a commented example fleet
    Init(InitArgs),
    /// Check the files, without any network
    Validate(ValidateArgs),
    /// The resolved inventory
    Hosts(HostsArgs),
    /// List the shipped playbooks, or print one
    Playbooks(PlaybooksArgs),
    /// What would happen: the dry run; without any network, unless told to --connect
    Plan(PlanArgs),
    /// Plan, ask, and execute
    Run(RunArgs),
    /// Execute exactly a plan that `plan -o` saved
    Apply(ApplyArgs),
    /// Go on with a run that was stopped or interrupted
    Resume(ResumeArgs),
    /// Start no new host, and pause the run as soon as hosts in flight are at a safe point
    Stop(StopArgs),
    /// Take hosts out of a run: those in flight rest at their next safe point
    Hold(HoldArgs),
    /// Take hosts that are held back in
    Release(HoldArgs),
    /// Change limits of a run that goes on, or is paused
    Tune(TuneArgs),
    /// Approve a wave of a run, or of a saved plan
    Approve(ApproveArgs),
    /// Reject a wave: it stays closed until the same person approves it
    Reject(DecideArgs),
    /// Roll hosts back by the playbook's rollback steps
    Rollback(RollbackArgs),
    /// Remove what a rollback would need: after this there is no way back
    Commit(RollbackArgs),
    /// Every host's state, and what the run waits on
    Status(StatusArgs),
    /// All runs
    Runs(RunsArgs),
    /// What steps printed
    Log(LogArgs),
    /// The evidence for a host's state
    Why(WhyArgs),
    /// The execution report
    Report(ReportArgs),
    /// The run's records as JSON Lines
    Journal(JournalArgs),
    /// JSON Schemas of files and of data
    Schema(SchemaArgs),
    /// Completions for a shell
    Completions(CompletionsArgs),
    /// The manual page
    Man,
}

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How many hosts; without it, the fifteen of the reference report
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(4..=500))]
    pub hosts: Option<u32>,
    /// Chooses machine ids, boot ids and host keys
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "fleetlift-demo")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct Fleet {
    /// The inventory: a file, or a fleet folder
    #[arg(short, long, value_name = "FLEET")]
    pub inventory: PathBuf,
}

#[derive(Debug, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    pub fleet: Fleet,
    /// The playbook: a shipped one by name, or a file
    #[arg(short, long)]
    pub playbook: Option<String>,
    /// Print the faults as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct HostsArgs {
    #[command(flatten)]
    pub fleet: Fleet,
    /// Only these hosts: web-01, web-[01-04], @web, @prod&@web, @web,!web-03
    #[arg(long, value_name = "SEL")]
    pub limit: Option<String>,
    /// As `ansible-inventory --list` prints it
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct PlaybooksArgs {
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct What {
    #[command(flatten)]
    pub fleet: Fleet,
    /// The playbook: a shipped one by name, or a file
    #[arg(short, long)]
    pub playbook: String,
    /// Only these hosts: web-01, web-[01-04], @web, @prod&@web, @web,!web-03
    #[arg(long, value_name = "SEL")]
    pub limit: Option<String>,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub what: What,
    /// Print the whole plan as JSON
    #[arg(long)]
    pub json: bool,
    /// The calendar as if the run began then: 2024-09-07T12:00:00+08:00
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub at: Option<Timestamp>,
    /// Save the plan, for `apply`
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Log in to each host, which changes nothing there: run its prechecks, ask the guards, and say what each step would do
    #[arg(long)]
    pub connect: bool,
    /// With --connect: hosts that are asked at once [default: as many as the rollout has in flight]
    #[arg(long, value_name = "N", requires = "connect", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub parallel: Option<u32>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub what: What,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Do not wait for a window or an approval: pause with exit code 3
    #[arg(long)]
    pub no_wait: bool,
    /// Only show the plan
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A plan that `plan -o` saved
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Do not wait for a window or an approval: pause with exit code 3
    #[arg(long)]
    pub no_wait: bool,
    /// Only show the plan, and whether it could be applied
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The run, or `last`; may be left out where there is one candidate
    pub run: Option<String>,
    /// Do not wait for a window or an approval: pause with exit code 3
    #[arg(long)]
    pub no_wait: bool,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// The run, or `last`; may be left out where only one is driven
    pub run: Option<String>,
    /// Leave at once: what runs on hosts goes on there, and `resume` takes over
    #[arg(long)]
    pub now: bool,
}

#[derive(Debug, Args)]
pub struct HoldArgs {
    /// The run, or `last`
    pub run: String,
    /// web-01, web-[01-04], @web, @prod&@web, state=pending
    #[arg(required = true, value_name = "HOST")]
    pub hosts: Vec<String>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("limit").required(true).multiple(true))]
pub struct TuneArgs {
    /// The run, or `last`
    pub run: String,
    /// Hosts in flight at once, over all waves
    #[arg(long, value_name = "N", group = "limit", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub parallel: Option<u32>,
    /// How many hosts of the plan may end badly: 3, or 5%
    #[arg(long, value_name = "N|N%", group = "limit", value_parser = allowance)]
    pub budget: Option<Allowance>,
}

#[derive(Debug, Args)]
pub struct ApproveArgs {
    #[command(flatten)]
    pub what: DecideArgs,
    /// How long it is good [default: as the rollout says]
    #[arg(long, value_name = "LENGTH", value_parser = length, conflicts_with = "signature")]
    pub expires: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct DecideArgs {
    /// The run, or `last`; or a plan that `plan -o` saved, ahead of its run
    #[arg(value_name = "RUN|FILE")]
    pub target: String,
    /// The wave
    pub gate: String,
    /// Why; it is recorded, and signed
    #[arg(long, value_name = "TEXT", required_unless_present = "signature")]
    pub reason: Option<String>,
    /// Whose word it is [default: by the key, else the user's name]
    #[arg(long = "as", value_name = "PRINCIPAL")]
    pub principal: Option<String>,
    /// Sign with this SSH key; the public half of one asks the agent
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Only print the text that is to be signed, for `ssh-keygen -Y sign -n fleetlift-approval`
    #[arg(long, conflicts_with_all = ["key", "signature"])]
    pub print: bool,
    /// Hand in a signature that was made elsewhere
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "reason", "principal"])]
    pub signature: Option<PathBuf>,
    /// The text that was signed [default: that of FILE.sig is FILE]
    #[arg(long, value_name = "FILE", requires = "signature")]
    pub text: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct RollbackArgs {
    pub run: Option<String>,
    /// Only these hosts; also by state: state=migrated
    #[arg(long, value_name = "SEL")]
    pub hosts: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    pub run: Option<String>,
    #[arg(long)]
    pub json: bool,
    /// Show it again whenever something happens, until the run ends
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct RunsArgs {
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct LogArgs {
    /// The run, or `last`
    pub run: String,
    pub host: Option<String>,
    pub step: Option<String>,
    /// Go on until the run ends
    #[arg(long)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The run, or `last`
    pub run: String,
    pub host: String,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    pub run: Option<String>,
    #[arg(long, value_enum, default_value = "html")]
    pub format: ReportFormat,
    /// Where to write it [default: standard output]
    #[arg(short = 'o', long = "out", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    Html,
    Md,
    Json,
}

#[derive(Debug, Args)]
pub struct JournalArgs {
    pub run: Option<String>,
    /// Check the hash chain instead
    #[arg(long)]
    pub verify: bool,
}

#[derive(Debug, Args)]
pub struct SchemaArgs {
    #[arg(value_enum)]
    pub of: SchemaOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    Inventory,
    Playbook,
    Rollout,
    Events,
    Report,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

fn length(text: &str) -> Result<Duration, String> {
    parse_length(text).map_err(|error| format!("{error}; write it as 30m, 8h or 2d"))
}

/// A point in time with its offset: without one nobody knows which is meant.
fn moment(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| {
        "a time with its offset is wanted, such as 2024-09-07T12:00:00+08:00".to_owned()
    })
}

fn allowance(text: &str) -> Result<Allowance, String> {
    match text.parse() {
        Ok(hosts) => Ok(Allowance::Hosts(hosts)),
        Err(_) => parse_percentage(text).map_err(|refusal| refusal.message),
    }
}
