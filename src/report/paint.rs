//! Colours of a terminal, where it has them.

use super::state::{State, Tone};
use console::Style;

/// Puts colours on text, or leaves it as it is. Never the only carrier of a meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    pub color: bool,
}

impl Paint {
    pub fn tone(self, tone: Tone, text: &str) -> String {
        let style = match tone {
            Tone::Good => Style::new().green(),
            Tone::Busy => Style::new().cyan(),
            Tone::Calm => Style::new().dim(),
            Tone::Warn => Style::new().yellow(),
            Tone::Bad => Style::new().red().bold(),
        };
        self.apply(&style, text)
    }

    pub fn bold(self, text: &str) -> String {
        self.apply(&Style::new().bold(), text)
    }

    pub fn dim(self, text: &str) -> String {
        self.apply(&Style::new().dim(), text)
    }

    pub fn sign(self, state: State) -> String {
        self.tone(state.tone(), &state.sign().to_string())
    }

    fn apply(self, style: &Style, text: &str) -> String {
        style.clone().force_styling(self.color).apply_to(text).to_string()
    }
}
