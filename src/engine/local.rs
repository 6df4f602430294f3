//! Steps that run on the controller: a hypervisor's snapshot, a load balancer's drain.

use super::{
    controller::LocalScript,
    lane::{Order, Shared, Stop, timed_out},
    output::{Origin, Output},
    work::Work,
};
use crate::{
    host::Exit,
    journal::{Failure, Part},
    plan::Rendered,
    run::Ending,
};

/// Runs a script here, with the host's name and address in its environment.
pub async fn run(
    shared: &Shared,
    host: usize,
    order: &Order,
    rendered: &Rendered,
    text: &str,
    work: &mut Work,
) -> Result<(Option<i32>, String, String), Stop> {
    let planned = &shared.plan.steps[order.step];
    let about = &shared.plan.hosts[host];
    let own = [
        ("FLEETLIFT_HOST", about.name.as_str()),
        ("FLEETLIFT_ADDRESS", about.addresses.first().map_or("", String::as_str)),
        ("FLEETLIFT_RUN", shared.run.as_str()),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let script = LocalScript {
        text: text.to_owned(),
        env: own.into_iter().chain(rendered.env.clone()).collect(),
        timeout: planned.timeout,
    };
    let origin = Origin {
        host: about.name.clone(),
        step: planned.id.clone(),
        attempt: order.attempt,
        part: Part::Step,
    };
    let mut output = Output::new(origin, shared.outputs.clone(), shared.secrets.redactor());
    let ended = shared.controller.run(&script, &mut output).await;
    output.finish();
    work.tail = output.evidence();
    match ended {
        Ok(Exit::Code(code)) => Ok((Some(code), output.stdout(), output.stderr())),
        Ok(Exit::Signal(signal)) => Err(Ending::Failed(Failure::Killed { signal })),
        Ok(Exit::TimedOut { stopped }) => Err(timed_out(planned.timeout, stopped)),
        Err(error) => {
            let reason = format!("cannot run on the controller: {error}");
            Err(Ending::Failed(Failure::Refused { reason }))
        }
    }
}
