//! Selections as operators write them: `@web,!web-03`, `@prod&@db`, `web-[01-04]`, `state=failed`. This is the grammar;
//! what a selection matches is told by the inventory.

use super::{
    fault::Refusal,
    range::{expand, split_outside},
    suggest::did_you_mean,
};
use std::{fmt, ops::Range};

/// The longest selection, in bytes: ten thousand hosts by name.
const SELECTION_BYTES_MAX: usize = 1 << 20;

/// The words that a host's state may have, in `status` and after `state=`.
pub const STATES: [&str; 14] = [
    "pending",
    "running",
    "armed",
    "dark",
    "held",
    "migrated",
    "already",
    "blocked",
    "failed",
    "rolled_back",
    "needs_hands",
    "unreachable",
    "not_started",
    "committed",
];

/// Why a selection cannot be read, or selects nothing. Its range is within the selection's text.
pub type SelectionError = Refusal;

/// Which hosts are meant. Terms are a union, in order; what a term with `!` matches is taken out, wherever it stands.
#[derive(Clone, Debug)]
pub struct Selection {
    pub(crate) text: String,
    pub(crate) terms: Vec<Term>,
}

/// What stands between commas.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    pub(crate) removes: bool,
    /// All of them must match.
    pub(crate) factors: Vec<Factor>,
}

/// What stands between `&`.
#[derive(Clone, Debug)]
pub(crate) struct Factor {
    pub(crate) place: Range<usize>,
    /// With `!`, in an intersection: `@prod&!@db`.
    pub(crate) negated: bool,
    pub(crate) atom: Atom,
}

#[derive(Clone, Debug)]
pub(crate) enum Atom {
    All,
    /// Names of groups, which may have `*` and `?` in them.
    Groups(Vec<String>),
    /// Names of hosts, likewise.
    Hosts(Vec<String>),
    /// Hosts in this state of a run.
    State(String),
}

impl Selection {
    pub fn parse(text: &str) -> Result<Self, SelectionError> {
        if text.trim().is_empty() {
            return Err(Refusal::new("the selection is empty").hint("`@all` selects every host"));
        }
        if text.len() > SELECTION_BYTES_MAX {
            return Err(
                Refusal::new("the selection is longer than 1 MiB").hint("make a group of it")
            );
        }
        let terms: Vec<Term> = split_outside(text, ',')?
            .into_iter()
            .map(|place| term(text, place))
            .collect::<Result<_, _>>()?;
        if terms.iter().all(|term| term.removes) {
            return Err(Refusal::new("the selection only takes hosts out, and selects none")
                .hint(format!("to select all others: `@all,{text}`")));
        }
        Ok(Self { text: text.to_owned(), terms })
    }

    /// The selection as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it asks for states, which only a run can tell.
    pub fn asks_for_states(&self) -> bool {
        self.terms.iter().flat_map(|t| &t.factors).any(|f| matches!(f.atom, Atom::State(_)))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// The place without the white space at its ends.
fn trimmed(text: &str, place: Range<usize>) -> Range<usize> {
    let part = &text[place.clone()];
    let start = place.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}

fn term(text: &str, place: Range<usize>) -> Result<Term, Refusal> {
    let mut place = trimmed(text, place);
    let removes = text[place.clone()].starts_with('!');
    if removes {
        place = trimmed(text, place.start + 1..place.end);
    }
    if place.is_empty() {
        let around = place.start.saturating_sub(1)..(place.end + 1).min(text.len());
        let around = if text.is_char_boundary(around.start) && text.is_char_boundary(around.end) {
            around
        } else {
            place
        };
        return Err(Refusal::new("there is an empty term in the selection").at(around));
    }
    let parts = split_outside(&text[place.clone()], '&')?;
    let factors = parts
        .into_iter()
        .enumerate()
        .map(|(i, part)| factor(text, place.start + part.start..place.start + part.end, i > 0))
        .collect::<Result<_, _>>()?;
    Ok(Term { removes, factors })
}

fn factor(text: &str, place: Range<usize>, may_negate: bool) -> Result<Factor, Refusal> {
    let place = trimmed(text, place);
    let part = &text[place.clone()];
    let negated = may_negate && part.starts_with('!');
    let word = if negated { part[1..].trim_start() } else { part };
    let refuse = |message: String| Refusal::new(message).at(place.clone());
    if word.is_empty() {
        return Err(refuse("a name is missing here".to_owned()));
    }
    let atom = if let Some(group) = word.strip_prefix('@') {
        groups(group).map_err(|r| r.shifted(place.start + part.len() - group.len(), group.len()))?
    } else if let Some((key, state)) = word.split_once('=') {
        state_atom(key, state).map_err(|r| Refusal { range: Some(place.clone()), ..r })?
    } else {
        if let Some(found) = word.chars().find(|c| matches!(c, '!' | '@' | '/') || c.is_control()) {
            return Err(refuse(format!("a host name does not contain {found:?}")));
        }
        let names = expand(word)
            .map_err(|r| r.shifted(place.start + part.len() - word.len(), word.len()))?;
        Atom::Hosts(names)
    };
    Ok(Factor { place, negated, atom })
}

fn groups(name: &str) -> Result<Atom, Refusal> {
    if name == "all" {
        return Ok(Atom::All);
    }
    if name.is_empty() {
        return Err(Refusal::new("a group's name is missing after `@`"));
    }
    Ok(Atom::Groups(expand(name)?))
}

fn state_atom(key: &str, state: &str) -> Result<Atom, Refusal> {
    let (key, state) = (key.trim(), state.trim());
    if key != "state" {
        return Err(Refusal::new(format!("`{key}=` is not known in a selection"))
            .hint("`state=failed` and the like are"));
    }
    if !STATES.contains(&state) {
        let hint = did_you_mean(state, STATES)
            .unwrap_or_else(|| format!("the states are {}", STATES.join(", ")));
        return Err(Refusal::new(format!("`{state}` is not a state of a host")).hint(hint));
    }
    Ok(Atom::State(state.to_owned()))
}

/// Whether a name has characters in it that stand for others.
pub(crate) fn is_glob(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Whether a name is what a pattern with `*` (any characters) and `?` (one character) stands for.
pub(crate) fn glob_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where the last star stood, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            Some(_) | None => match star {
                None => return false,
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}
