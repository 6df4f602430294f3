//! Scripts within their time: ended when it is over, and by whose word.

use super::exchange::{self, Aside, Ending, Job, Link};
use crate::{
    base::time::{Clock, SystemClock},
    host::{OutputSink, Stream},
};
use std::{pin::pin, time::Duration};
use tokio::time::{sleep, timeout};

/// Asking, five seconds of patience, force, five more, and what a slow host needs besides.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// How long a machine that has slept takes at most to notice that a step's time is over.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(60);

/// For the last output of a script whose processes are gone.
const TAIL_LIMIT: Duration = Duration::from_secs(5);

/// Ends a script whose time is over, or what is left of it. What the host says of it; nothing where it will not be told. An
/// error where nobody heard what it says: over another connection it can be asked.
pub(super) async fn stop_now(link: &Link, stop: Job<'_>) -> Result<Option<String>, String> {
    let mut words = String::new();
    let mut hear = |_: Stream, bytes: &[u8]| words.push_str(&String::from_utf8_lossy(bytes));
    match timeout(STOP_LIMIT, link.exchange(stop, &mut hear)).await {
        Ok(Ending::Ended(_)) => Ok(Some(words.trim().to_owned())),
        Ok(Ending::No(_) | Ending::NoProgram { .. }) => Ok(None),
        Ok(Ending::Gone { why, .. }) => Err(format!("while it was being ended: {why}")),
        // A connection that died quietly looks like this until its keep-alives are over.
        Err(_) => Err("the host did not answer when it was to be ended".to_owned()),
    }
}

/// How a script with a limit ended.
pub(super) enum Finish {
    InTime(Ending),
    Stopped {
        gone: bool,
    },
    /// It had not begun, and cannot begin any more.
    Never,
    Lost(String),
}

/// Waits for so long by a clock that goes on while this machine sleeps, as the timers of the runtime do not.
async fn pass(limit: Duration) {
    let began = SystemClock.steady();
    loop {
        let left = limit.saturating_sub(SystemClock.steady().saturating_sub(began));
        if left.is_zero() {
            return;
        }
        sleep(left.min(LOOK_AT_CLOCK)).await;
    }
}

pub(super) async fn run_in_time(
    link: &Link,
    launch: Job<'_>,
    stop: impl Fn() -> Job<'static>,
    limit: Duration,
    output: &mut dyn OutputSink,
) -> (Finish, Aside) {
    let mut sink = exchange::sink(output);
    let mut running = pin!(link.exchange_aside(launch, &mut sink));
    tokio::select! {
        biased;
        (ending, aside) = &mut running => return (Finish::InTime(ending), aside),
        () = pass(limit) => {}
    }
    // The first channel is read on meanwhile: one that is not read stops the whole connection, the second with it.
    let mut ended = None;
    let stopped = {
        let mut stopping = pin!(stop_now(link, stop()));
        loop {
            tokio::select! {
                biased;
                ending = &mut running, if ended.is_none() => ended = Some(ending),
                stopped = &mut stopping => break stopped,
            }
        }
    };
    if ended.is_none() && matches!(stopped, Ok(Some(_))) {
        ended = timeout(TAIL_LIMIT, &mut running).await.ok();
    }
    let (ended, aside) = ended.map_or((None, Aside::default()), |(end, aside)| (Some(end), aside));
    let finish = match stopped {
        Ok(Some(said)) => weigh(&said, ended),
        Ok(None) => Finish::Stopped { gone: false },
        Err(why) => Finish::Lost(why),
    };
    (finish, aside)
}

/// What became of a script that was to be ended: by what the host said then, and by how its own channel has ended.
fn weigh(said: &str, ended: Option<Ending>) -> Finish {
    match (said, ended) {
        ("never", Some(Ending::No(_) | Ending::NoProgram { .. } | Ending::Gone { .. }) | None) => {
            Finish::Never
        }
        // Who followed it has heard the same.
        ("never", Some(Ending::Ended(how))) if how == "never" => Finish::Never,
        // It had ended by itself, and only we heard of it late: since we were stopped, or its last words were long.
        ("over", Some(ending)) => Finish::InTime(ending),
        ("over", None) => Finish::Lost("it has ended, but its output does not come".to_owned()),
        ("gone", _) => Finish::Stopped { gone: true },
        (said, ended) if said.starts_with("open ") || said.starts_with("lost ") => match ended {
            Some(ending @ (Ending::No(_) | Ending::NoProgram { .. })) => Finish::InTime(ending),
            Some(Ending::Ended(_) | Ending::Gone { .. }) | None => Finish::Lost(said.to_owned()),
        },
        (_, _) => Finish::Stopped { gone: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_is_heard_twice_of_a_script_that_is_followed_and_never_of_one_that_has_ended() {
        let weighed = |how: &str| weigh("never", Some(Ending::Ended(how.to_owned())));
        assert!(matches!(weighed("never"), Finish::Never));
        assert!(matches!(weighed("0"), Finish::Stopped { gone: false }));
        let gone = Ending::Gone { handed: true, why: String::new() };
        assert!(matches!(weigh("never", Some(gone)), Finish::Never));
    }
}
