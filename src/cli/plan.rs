//! `plan`: what would happen; without any network, unless hosts are to be asked.

use super::{
    args::{Common, PlanArgs},
    calendar::{calendar, measured},
    common, connect,
    error::CliError,
    exec_run::make_plan,
    saved,
};
use crate::{
    base::{
        text::safe_json,
        time::{Clock, SystemClock},
    },
    report,
    run::HostSurvey,
};
use serde_json::json;
use std::process::ExitCode;

pub fn plan(common: &Common, args: &PlanArgs) -> Result<ExitCode, CliError> {
    let planned = measured(common, make_plan(&args.what)?)?;
    let now = args.at.unwrap_or_else(|| SystemClock.now());
    let calendar = calendar(&args.what, &planned.plan, now)?;
    let surveyed = match args.connect {
        true => Some(connect::survey(common, &planned.plan, args.parallel)?),
        false => None,
    };
    if args.json {
        // The plan's own text is what the digest is of; it stands here unchanged.
        common::print(&format!("{{\"digest\":\"{}\",\"plan\":", planned.digest));
        common::print(&planned.text);
        let has_windows = planned.plan.waves.iter().any(|wave| wave.windows.is_some());
        // Without windows a calendar is the forecast and nothing else.
        let dated = (has_windows || args.at.is_some()).then_some(&calendar);
        let mut times = json!({ "forecast": calendar.forecast, "calendar": dated });
        if let Some(surveys) = &surveyed {
            times["survey"] = report::survey_json(&planned.plan, surveys);
        }
        let times = times.to_string();
        common::print(&format!(",{}\n", safe_json(times.trim_start_matches('{'))));
    } else {
        let text = report::plan_text(
            &planned.plan,
            &planned.digest,
            common.verbose > 0,
            common.colours_output(),
        );
        common::print(&text);
        let colours = common.colours_output();
        common::print(&report::calendar_text(&planned.plan, &calendar, colours));
        if let Some(surveys) = &surveyed {
            common::print(&report::survey_text(&planned.plan, surveys, colours));
        }
    }
    if let Some(file) = &args.file {
        saved::save(&planned, file)?;
    }
    let all_good = surveyed.iter().flatten().all(HostSurvey::is_good);
    Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
