//! `plan --connect`: asks every host, and changes none.

use super::{
    args::{Common, OutputMode},
    common, driving,
    error::CliError,
};
use crate::{
    base::{name::RunId, template::Templates, time::SystemClock},
    engine::{self, Shared, ThisMachine},
    plan::Plan,
    run::HostSurvey,
};
use std::{io::IsTerminal, sync::Arc};

/// Asks the hosts of a plan, so many at once.
pub fn survey(
    common: &Common,
    plan: &Plan,
    parallel: Option<u32>,
) -> Result<Vec<HostSurvey>, CliError> {
    let secrets = driving::secrets(plan)?;
    let transport = driving::transport(&secrets)?;
    let run: RunId =
        "plan".parse().map_err(|error| CliError::usage("a name cannot be made").cause(&error))?;
    let shared = Shared {
        plan: Arc::new(plan.clone()),
        run,
        transport,
        clock: Arc::new(SystemClock),
        controller: Arc::new(ThisMachine),
        secrets,
        templates: Templates::default(),
        outputs: None,
        artifacts: std::path::PathBuf::new(),
    };
    let hosts = plan.hosts.len();
    let at_once = parallel.map_or(plan.limits.parallel, |n| n as usize);
    let shows = common.mode() == OutputMode::Pretty && std::io::stderr().is_terminal();
    let asked = |n: usize| {
        if shows {
            let end = if n == hosts { "\r\u{1b}[K" } else { "" };
            common::complain(&format!("\rasked {n} of {hosts}{end}"));
        }
    };
    driving::block_on(engine::survey(shared, at_once, asked))
}
