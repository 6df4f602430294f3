//! Steps that run on the controller: a hypervisor's snapshot, a load balancer's drain.

use super::{
    lane::{Order, Shared, Stop, timed_out},
    output::{Origin, Output},
    work::Work,
};
use crate::{
    host::{OutputSink, Stream},
    journal::{Failure, Part},
    plan::Rendered,
    run::Ending,
};
use std::{process::Stdio, sync::Arc};
use tokio::{io::AsyncReadExt, process::Command};

/// Runs a script here, with the host's name and address in its environment.
pub async fn run(
    shared: &Shared,
    host: usize,
    order: &Order,
    rendered: &Rendered,
    text: &Arc<str>,
    work: &mut Work,
) -> Result<(Option<i32>, String, String), Stop> {
    let planned = &shared.plan.steps[order.step];
    let about = &shared.plan.hosts[host];
    let refused = |error: std::io::Error| {
        let reason = format!("cannot run on the controller: {error}");
        Ending::Failed(Failure::Refused { reason })
    };
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(&**text)
        .env("FLEETLIFT_HOST", about.name.as_str())
        .env("FLEETLIFT_ADDRESS", about.addresses.first().map_or("", String::as_str))
        .env("FLEETLIFT_RUN", shared.run.as_str())
        .envs(&rendered.env)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(refused)?;
    let group = child.id();
    let origin = Origin {
        host: about.name.clone(),
        step: planned.id.clone(),
        attempt: order.attempt,
        part: Part::Step,
    };
    let mut output = Output::new(origin, shared.outputs.clone(), shared.secrets.redactor());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let follow = async {
        let (mut out, mut err) = (out, err);
        let (mut one, mut two) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        while out.is_some() || err.is_some() {
            tokio::select! { biased;
                n = read(&mut out, &mut one) => output.take(Stream::Out, &one[..n]),
                n = read(&mut err, &mut two) => output.take(Stream::Err, &two[..n]),
            }
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(planned.timeout, follow).await;
    output.finish();
    work.tail = output.evidence();
    match ended {
        Err(_) => {
            let stopped = group.is_some_and(end_group);
            Err(timed_out(planned.timeout, stopped))
        }
        Ok(Err(error)) => Err(refused(error)),
        Ok(Ok(status)) => match status.code() {
            Some(code) => Ok((Some(code), output.stdout(), output.stderr())),
            None => {
                let signal = format!("{status}");
                Err(Ending::Failed(Failure::Killed { signal }))
            }
        },
    }
}

/// Reads from a pipe until it ends; an ended pipe is taken away and never ready again.
async fn read<R: AsyncReadExt + Unpin>(pipe: &mut Option<R>, buffer: &mut [u8]) -> usize {
    let Some(open) = pipe else { return std::future::pending().await };
    match open.read(buffer).await {
        Ok(n) if n > 0 => n,
        Ok(_) | Err(_) => {
            *pipe = None;
            0
        }
    }
}

/// Kills the script's process group.
fn end_group(group: u32) -> bool {
    let Some(group) = i32::try_from(group).ok().and_then(rustix::process::Pid::from_raw) else {
        return false;
    };
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).is_ok()
}
