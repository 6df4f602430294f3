//! Questions: scripts that leave nothing on the host, neither a folder nor a process.

use super::{
    exchange::{self, Ending, Job},
    session::{INLINE_BYTES_MAX, SshSession, check_script, exit_of},
    shell::{self, Program, Text},
};
use crate::host::{Exit, OutputSink, Script, SessionError};
use std::time::Duration;
use tokio::time::timeout;

/// Beyond a question's own limit, which the host keeps: ending its processes, and what a slow host needs besides.
const SLACK: Duration = Duration::from_secs(40);

impl SshSession {
    /// Puts a question and waits for its end. It is not followed when the connection breaks: it may be put again.
    pub(super) async fn put_question(
        &mut self,
        script: &Script,
        output: &mut dyn OutputSink,
    ) -> Result<Exit, SessionError> {
        self.alive()?;
        check_script(script)?;
        let token = exchange::draw_word().map_err(|reason| SessionError::Refused { reason })?;
        let text = shell::question(&script.env, &script.text);
        let limit = script.timeout.as_millis().div_ceil(1000).max(1).to_string();
        let size = text.len().to_string();
        let machine = script.machine_id.as_deref().unwrap_or_default();
        let mut values =
            vec![("token", token.as_str()), ("machine", machine), ("limit", limit.as_str())];
        // A long text follows the program: that is read byte by byte on the host.
        let body = if text.len() <= INLINE_BYTES_MAX {
            values.extend([("script", text.as_str()), ("size", "")]);
            &[]
        } else {
            values.push(("size", size.as_str()));
            text.as_bytes()
        };
        let program = Text::new(&values).program(Program::Ask);
        let job = Job { text: program, body, sudo: script.sudo };
        let mut sink = exchange::sink(output);
        let asked = timeout(script.timeout + SLACK, self.link.exchange(job, &mut sink)).await;
        let ending = asked.unwrap_or_else(|_| Ending::Gone {
            handed: true,
            why: "the host did not answer in time".to_owned(),
        });
        Ok(match self.settle(ending)?.as_str() {
            "gone" => Exit::TimedOut { stopped: true },
            "alive" => Exit::TimedOut { stopped: false },
            how => exit_of(how),
        })
    }
}
