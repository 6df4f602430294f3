//! What a command that failed says: message, causes, hint. And its exit code.

use crate::{
    base::{fault::Faults, text::one_line},
    engine::EngineError,
    journal::StoreError,
};
use std::fmt::Write as _;

/// Exit codes of the contract, beside 0 and 1.
pub const USAGE: u8 = 2;
pub const PAUSED: u8 = 3;
pub const REFUSED: u8 = 4;
pub const BUG: u8 = 70;
pub const LEFT: u8 = 130;

#[derive(Debug)]
pub struct CliError {
    message: String,
    causes: Vec<String>,
    /// Lines under the message, safe for a terminal.
    body: Option<Box<str>>,
    hint: Option<String>,
    /// Text that is printed as it is, before the message: faults with their places.
    detail: Option<Faults>,
    pub code: u8,
}

impl CliError {
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            causes: Vec::new(),
            body: None,
            hint: None,
            detail: None,
            code: USAGE,
        }
    }

    pub fn refused(message: impl Into<String>) -> Self {
        Self { code: REFUSED, ..Self::usage(message) }
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Lines that stand under the message.
    pub fn body(self, body: String) -> Self {
        Self { body: Some(body.into()), ..self }
    }

    pub fn cause(mut self, cause: &dyn std::error::Error) -> Self {
        let mut next = Some(cause);
        while let Some(error) = next {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// The error as it is printed.
    pub fn render(&self, colours: bool) -> String {
        let mut text = String::new();
        if let Some(faults) = &self.detail {
            text.push_str(&faults.render(colours));
            text.push_str("no host was contacted\n");
            return text;
        }
        let (red, cyan, plain) =
            if colours { ("\u{1b}[1;31m", "\u{1b}[1;36m", "\u{1b}[0m") } else { ("", "", "") };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{red}error{plain}: {}", one_line(&self.message));
        for cause in &self.causes {
            let _ = writeln!(text, "  cause: {}", one_line(cause));
        }
        text.push_str(self.body.as_deref().unwrap_or_default());
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{cyan}hint{plain}: {}", one_line(hint));
        }
        text
    }
}

impl From<Faults> for CliError {
    fn from(faults: Faults) -> Self {
        Self { detail: Some(faults), ..Self::usage("faulty files") }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::NoRun { .. } => {
                Self::usage(error.to_string()).hint("`fleetlift runs` lists them")
            }
            StoreError::Locked { .. } => Self::refused(error.to_string())
                .hint("`fleetlift status` shows how it goes on; `fleetlift stop` stops it"),
            StoreError::File { .. }
            | StoreError::Database { .. }
            | StoreError::Corrupt { .. }
            | StoreError::WriterGone { .. } => {
                let causes = std::error::Error::source(&error);
                let plain = Self::usage(error.to_string());
                causes.map_or_else(|| Self::usage(error.to_string()), |cause| plain.cause(cause))
            }
        }
    }
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        match &error {
            EngineError::Journal(cause) => Self { code: PAUSED, ..Self::usage(error.to_string()) }
                .cause(cause)
                .hint("make room where runs are kept, then `fleetlift resume`"),
            EngineError::Illegal(cause) => Self { code: BUG, ..Self::usage(error.to_string()) }
                .cause(cause)
                .hint("please send us `fleetlift journal RUN`; `fleetlift resume` goes on where it can"),
        }
    }
}
