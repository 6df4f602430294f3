//! `plan`: what would happen, without any network.

use super::{
    args::{Common, PlanArgs},
    common,
    error::CliError,
    exec_run::make_plan,
    saved,
};
use std::process::ExitCode;

pub fn plan(common: &Common, args: &PlanArgs) -> Result<ExitCode, CliError> {
    let planned = make_plan(&args.what)?;
    if args.json {
        // The plan's own text is what the digest is of; it stands here unchanged.
        common::print(&format!("{{\"digest\":\"{}\",\"plan\":", planned.digest));
        common::print(&planned.text);
        common::print("}\n");
    } else {
        let text = crate::report::plan_text(
            &planned.plan,
            &planned.digest,
            common.verbose > 0,
            common.colours_output(),
        );
        common::print(&text);
    }
    if let Some(file) = &args.file {
        saved::save(&planned, file)?;
    }
    Ok(ExitCode::SUCCESS)
}
