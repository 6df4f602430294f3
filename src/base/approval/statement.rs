//! What somebody says about a wave of a plan, and the one text of it that is signed.

use crate::base::{
    name::{Principal, RunId, WaveName},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The first line of the text. Another form gets another number, so that no text has two meanings.
const HEAD: &str = "fleetlift approval 1";
/// Stands for a run that is not named, and for an end that never comes.
const ANY: &str = "any";
const NEVER: &str = "never";
/// A reason is a sentence with the number of a change, in characters.
const REASON_CHARS_MAX: usize = 1000;

/// Opens a gate, or closes it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Approve,
    Reject,
}

impl Decision {
    /// The word of the text, which is the verb that says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// What somebody says about one wave of one plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Statement {
    /// `sha256:…` of the plan.
    pub plan: String,
    /// The only run for which it counts. Absent where it was said of a plan, before any run: then it counts for each.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run: Option<RunId>,
    pub wave: WaveName,
    pub decision: Decision,
    /// Whose word it is.
    pub principal: Principal,
    pub issued: Timestamp,
    /// Until when it counts. A rejection stands until the same person approves.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires: Option<Timestamp>,
    pub reason: String,
}

/// A statement, with the signature under its text where it has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    #[serde(flatten)]
    pub statement: Statement,
    /// As `ssh-keygen -Y sign` writes it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signature: Option<String>,
}

/// Why a text is not a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    #[error("this is not the text of an approval: its first line is not `{HEAD}`")]
    NoStatement,
    #[error("line {line} of the text should begin with `{key}`")]
    Line { line: usize, key: &'static str },
    #[error("`{key}` of the text cannot be read: {why}")]
    Value { key: &'static str, why: String },
    #[error("the text is not as `--print` wrote it: every byte of it counts")]
    Altered,
    #[error("a reason must not be empty")]
    NoReason,
    #[error("a reason is one line of at most {REASON_CHARS_MAX} characters")]
    Reason,
}

/// A reason that can stand in a line of its own.
pub fn check_reason(text: &str) -> Result<(), StatementError> {
    if text.trim().is_empty() {
        return Err(StatementError::NoReason);
    }
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    if text.contains(breaks) || text.chars().count() > REASON_CHARS_MAX {
        return Err(StatementError::Reason);
    }
    Ok(())
}

impl Statement {
    /// The one text of the statement, which is what is signed. No value has a line end, so it can be read in one way only.
    pub fn text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        let mut line = |key: &str, value: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key} {value}");
        };
        line("plan", &self.plan);
        line("run", self.run.as_ref().map_or(ANY, RunId::as_str));
        line("wave", self.wave.as_str());
        line("decision", self.decision.word());
        line("principal", self.principal.as_str());
        line("issued", &self.issued.to_string());
        line("expires", &self.expires.map_or_else(|| NEVER.to_owned(), |at| at.to_string()));
        line("reason", &self.reason);
        text
    }

    /// Reads the text that somebody signed elsewhere.
    pub fn parse(text: &str) -> Result<Self, StatementError> {
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, head)| head != HEAD) {
            return Err(StatementError::NoStatement);
        }
        let mut next = |key: &'static str| -> Result<&str, StatementError> {
            let (number, line) = lines.next().unwrap_or_default();
            let value = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(' '));
            value.ok_or(StatementError::Line { line: number + 1, key })
        };
        let plan = next("plan")?.to_owned();
        let run = match next("run")? {
            ANY => None,
            run => Some(value("run", run)?),
        };
        let wave = value("wave", next("wave")?)?;
        let decision = match next("decision")? {
            "approve" => Decision::Approve,
            "reject" => Decision::Reject,
            other => {
                let why = format!("{other:?} is neither `approve` nor `reject`");
                return Err(StatementError::Value { key: "decision", why });
            }
        };
        let principal = value("principal", next("principal")?)?;
        let issued = value("issued", next("issued")?)?;
        let expires = match next("expires")? {
            NEVER => None,
            at => Some(value("expires", at)?),
        };
        let reason = next("reason")?.to_owned();
        check_reason(&reason)?;
        let said = Self { plan, run, wave, decision, principal, issued, expires, reason };
        if said.text() == text { Ok(said) } else { Err(StatementError::Altered) }
    }
}

fn value<T: std::str::FromStr<Err: std::fmt::Display>>(
    key: &'static str,
    text: &str,
) -> Result<T, StatementError> {
    text.parse().map_err(|error: T::Err| StatementError::Value { key, why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said() -> Statement {
        Statement {
            plan: "sha256:00ff".to_owned(),
            run: Some("20261121-0915-kx3f".parse().unwrap()),
            wave: "db nodes".parse().unwrap(),
            decision: Decision::Approve,
            principal: "cto@example.com".parse().unwrap(),
            issued: Timestamp::from_millis(1_795_252_502_120),
            expires: Some(Timestamp::from_millis(1_795_338_902_120)),
            reason: "CHG0042: as agreed on Friday".to_owned(),
        }
    }

    #[test]
    fn the_text_is_a_contract() {
        let text = "fleetlift approval 1\nplan sha256:00ff\nrun 20261121-0915-kx3f\nwave db nodes\n\
                    decision approve\nprincipal cto@example.com\nissued 2026-11-21T09:15:02.120Z\n\
                    expires 2026-11-22T09:15:02.120Z\nreason CHG0042: as agreed on Friday\n";
        assert_eq!(said().text(), text);
        assert_eq!(Statement::parse(text).unwrap(), said());
        let ahead = Statement { run: None, expires: None, decision: Decision::Reject, ..said() };
        assert_eq!(Statement::parse(&ahead.text()).unwrap(), ahead);
    }

    #[test]
    fn a_text_that_is_not_the_one_text_is_refused() {
        let text = said().text();
        let altered = |from: &str, to: &str| Statement::parse(&text.replace(from, to)).unwrap_err();
        assert_eq!(altered("approval 1", "approval 2"), StatementError::NoStatement);
        assert_eq!(altered("02.120Z", "02.12Z"), StatementError::Altered);
        assert_eq!(altered("\n", "\r\n"), StatementError::Altered);
        assert_eq!(altered("Friday\n", "Friday\nmore x\n"), StatementError::Altered);
        assert_eq!(altered("Friday\n", "Friday"), StatementError::Altered);
        assert_eq!(altered("CHG0042: as agreed on Friday", " "), StatementError::NoReason);
        assert_eq!(altered("wave ", "gate "), StatementError::Line { line: 4, key: "wave" });
        assert!(matches!(
            altered("approve", "allow"),
            StatementError::Value { key: "decision", .. }
        ));
    }

    proptest! {
        /// Whatever may stand in a reason, or in a name, cannot be read as another line.
        #[test]
        fn what_is_written_is_read(reason in ".{0,60}", wave in ".{1,20}", principal in ".{1,20}") {
            let (Ok(wave), Ok(principal)) = (wave.parse(), principal.parse()) else { return Ok(()) };
            if check_reason(&reason).is_err() {
                return Ok(());
            }
            let said = Statement { wave, principal, reason, ..said() };
            prop_assert_eq!(Statement::parse(&said.text()), Ok(said));
        }
    }
}
