//! The form of `rollout.toml`.

use super::Allowance;
use crate::base::{
    fault::Refusal,
    name::WaveName,
    selection::Selection,
    shape::{Form, Key, Shape, Table, json_schema},
};

/// The JSON Schema of rollouts.
pub fn schema() -> serde_json::Value {
    match &ROLLOUT {
        Shape::Table(table) => json_schema(table, "fleetlift rollout"),
        _ => serde_json::Value::Null,
    }
}

/// More hosts in flight than this would need more file descriptors than one process may have.
const PARALLEL: Shape = Shape::Whole { min: 1, max: 10_000 };
const COUNT: Shape = Shape::Whole { min: 0, max: 100_000 };

pub(super) static ROLLOUT: Shape = Shape::Table(&Table {
    what: "a rollout",
    keys: &[
        Key::optional("defaults", &DEFAULTS, "What holds for the whole rollout."),
        Key::optional(
            "wave",
            &Shape::List { of: &WAVE, min: 1 },
            "Waves; without an order between them they run side by side.",
        ),
        Key::later("interrupt"),
    ],
    one_of: &[],
});

static DEFAULTS: Shape = Shape::Table(&Table {
    what: "`defaults`",
    keys: &[
        Key::optional(
            "parallel",
            &PARALLEL,
            "Hosts in flight at once, over all waves; 10 by default.",
        ),
        Key::optional(
            "on_failure",
            &Shape::Word(&["rollback", "hold"]),
            "What happens to a host whose migration failed after it was touched; rollback by default.",
        ),
        Key::optional("budget", &BUDGET, "How many hosts may end badly before the run pauses."),
        Key::later("at_most"),
        Key::later("window"),
        Key::later("approval"),
        Key::later("soak"),
        Key::later("health"),
        Key::later("rehearse_rollback"),
    ],
    one_of: &[],
});

static BUDGET: Shape = Shape::Table(&Table {
    what: "a budget",
    keys: &[
        Key::optional(
            "failures",
            &Shape::OneOf(&[Shape::Form(&PERCENTAGE), COUNT]),
            "A number of hosts, or a part of all hosts of the plan; \"10%\" by default.",
        ),
        Key::optional("consecutive", &PARALLEL, "This many bad ends in a row pause the run."),
    ],
    one_of: &[],
});

static WAVE: Shape = Shape::Table(&Table {
    what: "a wave",
    keys: &[
        Key::required("name", &Shape::Form(&WAVE_NAME), "The wave's name."),
        Key::required(
            "hosts",
            &Shape::Form(&SELECTION),
            "A selection: @web, @prod&@db, @web,!web-03.",
        ),
        Key::optional(
            "after",
            &Shape::List { of: &Shape::Form(&WAVE_NAME), min: 0 },
            "Waves that must have ended before this one starts.",
        ),
        Key::optional(
            "canary",
            &COUNT,
            "So many hosts go first, and all must be migrated before the others start; 0 by default.",
        ),
        Key::optional("parallel", &PARALLEL, "Hosts of this wave in flight at once."),
        Key::later("window"),
        Key::later("approval"),
        Key::later("soak"),
        Key::later("health"),
        Key::later("rehearse_rollback"),
        Key::later("at_most"),
        Key::later("interrupt"),
    ],
    one_of: &[],
});

static WAVE_NAME: Form = Form {
    what: "the name of a wave",
    example: "web",
    check: |text| {
        if text.trim() != text {
            return Err(Refusal::new("a name must not begin or end with white space"));
        }
        text.parse::<WaveName>().map(drop).map_err(|error| Refusal::new(error.to_string()))
    },
};

static SELECTION: Form = Form {
    what: "a selection",
    example: "@web,!web-03",
    check: |text| {
        if Selection::parse(text)?.asks_for_states() {
            return Err(Refusal::new("a rollout is planned before its hosts have states")
                .hint("`state=` is for commands that name a run"));
        }
        Ok(())
    },
};

static PERCENTAGE: Form =
    Form { what: "a percentage", example: "5%", check: |text| parse_percentage(text).map(drop) };

/// Reads `5%`.
pub(super) fn parse_percentage(text: &str) -> Result<Allowance, Refusal> {
    let number = text.strip_suffix('%').map(str::trim_end);
    match number.and_then(|number| number.parse().ok()) {
        Some(percent @ 0..=100) => Ok(Allowance::Percent(percent)),
        Some(_) => Err(Refusal::new("more than all hosts cannot fail").hint("at most \"100%\"")),
        None => Err(Refusal::new("this is neither a number of hosts nor a percentage")
            .hint("such as 3, or \"5%\"; whole numbers only")),
    }
}
