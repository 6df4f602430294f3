//! The form of `rollout.toml`.

use super::Allowance;
use crate::base::{
    fault::Refusal,
    name::{Principal, WaveName},
    selection::Selection,
    shape::{Form, Key, Shape, Table, json_schema},
    window::{Clock, Day, Days, Part, Zone, end_of_day, parse_moment},
};
use std::time::Duration;

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
        Key::optional(
            "accept",
            &Shape::List { of: &ACCEPT, min: 0 },
            "Findings that do not block for a while, by somebody's word.",
        ),
        Key::optional(
            "interrupt",
            &Shape::List { of: &INTERRUPT, min: 0 },
            "Conditions over the whole run, which stop it by themselves.",
        ),
    ],
    one_of: &[],
});

static ACCEPT: Shape = Shape::Table(&Table {
    what: "an accepted finding",
    keys: &[
        Key::required(
            "finding",
            &Shape::OneOf(&[Shape::Text, Shape::List { of: &Shape::Text, min: 1 }]),
            "The name of the precheck that finds it, or its key in a migrator's report: leapp:KEY; or a list of these.",
        ),
        Key::optional(
            "hosts",
            &Shape::Form(&SELECTION),
            "On which hosts it is accepted; on all by default.",
        ),
        Key::required("by", &Shape::Form(&SAID), "Who answers for it."),
        Key::required(
            "until",
            &Shape::Form(&LAST_DAY),
            "The last day on which it is accepted, in UTC: 2024-12-31.",
        ),
        Key::required("reason", &Shape::Form(&SAID), "Why; the report tells it."),
    ],
    one_of: &[],
});

static SAID: Form = Form {
    what: "a text with words in it",
    example: "replaced with the next delivery, ticket 4711",
    check: |text| match text.trim() {
        "" => Err(Refusal::new("nothing is said here")),
        _ => Ok(()),
    },
};

static LAST_DAY: Form =
    Form { what: "a date", example: "2024-12-31", check: |text| end_of_day(text).map(drop) };

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
        Key::optional(
            "window",
            &WINDOWS,
            "When hosts may be worked on, for waves without windows of their own.",
        ),
        Key::optional(
            "at_most",
            &AT_MOST,
            "How many hosts of one failure domain may be away at once, over all waves.",
        ),
        Key::optional(
            "approval",
            &APPROVALS,
            "Who must approve each wave that does not say so itself.",
        ),
        Key::optional("soak", &SOAK, "How long each wave soaks that does not say so itself."),
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
        Key::optional("per_hour", &COUNT, "More bad ends than this within an hour pause the run."),
        Key::optional(
            "per",
            &PER,
            "By label: a number of the hosts that share a value of it, or a part of them.",
        ),
    ],
    one_of: &[],
});

static WAVE_BUDGET: Shape = Shape::Table(&Table {
    what: "a wave's budget",
    keys: &[
        Key::optional(
            "failures",
            &Shape::OneOf(&[Shape::Form(&PERCENTAGE), COUNT]),
            "A number of hosts, or a part of all hosts of the wave.",
        ),
        Key::optional("consecutive", &PARALLEL, "This many bad ends in a row pause the run."),
        Key::optional("per_hour", &COUNT, "More bad ends than this within an hour pause the run."),
        Key::optional(
            "per",
            &PER,
            "By label: a number of the wave's hosts that share a value of it, or a part of them.",
        ),
    ],
    one_of: &[],
});

const EVERY: Key = Key::optional(
    "every",
    &Shape::Length { min: Duration::from_secs(1), max: Duration::from_secs(86_400) },
    "From one question to the next; \"1m\" by default.",
);
const TIMEOUT: Key = Key::optional(
    "timeout",
    &Shape::Length { min: Duration::from_secs(1), max: Duration::from_secs(3600) },
    "How long an answer may take; \"10s\" by default.",
);
const FAILURES: Key = Key::optional(
    "failures",
    &Shape::Whole { min: 1, max: 1000 },
    "So many answers in a row that are not good are acted upon; 1 by default.",
);
const DO: Key = Key::optional(
    "do",
    &Shape::Word(&["pause", "stop", "rollback-wave"]),
    "What the run does then; `pause` by default.",
);
static SAYING: Shape = Shape::Form(&SAID);
const RECOVERY: Key =
    Key::optional("recovery", &SAYING, "What a person should do then; it is shown.");

static HEALTH: Shape = Shape::Table(&Table {
    what: "`health`",
    keys: &[
        Key::required(
            "run",
            &Shape::Text,
            "A script on the controller, in POSIX sh; with exit code 0 all is well.",
        ),
        Key::optional("expect", &Shape::Text, "What its output has to be: `stdout | int < 5`."),
        EVERY,
        TIMEOUT,
        FAILURES,
        DO,
        RECOVERY,
    ],
    one_of: &[],
});

static INTERRUPT: Shape = Shape::Table(&Table {
    what: "an interrupt",
    keys: &[
        Key::required("name", &Shape::Form(&SAID), "Its name."),
        Key::optional(
            "run",
            &Shape::Text,
            "A script on the controller: the condition holds with exit code 0, and does not with 1.",
        ),
        Key::optional(
            "prometheus",
            &Shape::Text,
            "An expression in PromQL: the condition holds where it has a value, as for an alert.",
        ),
        Key::optional("server", &Shape::Form(&SERVER), "The Prometheus server that is asked."),
        EVERY,
        TIMEOUT,
        FAILURES,
        DO,
        RECOVERY,
    ],
    one_of: &["run", "prometheus"],
});

static SERVER: Form = Form {
    what: "the address of a server",
    example: "https://prometheus.example:9090",
    check: |text| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        match rest.map(|rest| rest.split('/').next().unwrap_or_default()) {
            Some(host) if !host.is_empty() && !text.contains(char::is_whitespace) => Ok(()),
            Some(_) | None => Err(Refusal::new("this is not the address of an HTTP server")
                .hint("such as https://prometheus.example:9090")),
        }
    },
};

static PER: Shape =
    Shape::Map { of: &Shape::OneOf(&[Shape::Form(&PERCENTAGE), COUNT]), keys: "labels" };

static AT_MOST: Shape =
    Shape::OneOf(&[Shape::Table(&DOMAIN), Shape::List { of: &Shape::Table(&DOMAIN), min: 0 }]);

static DOMAIN: Table = Table {
    what: "a limit of a failure domain",
    keys: &[
        Key::required("hosts", &PARALLEL, "So many of the hosts that share a value of the label."),
        Key::required("per", &Shape::Text, "The label, as hosts have it in the inventory: pair."),
    ],
    one_of: &[],
};

/// A month is more than anybody waits between two waves.
static SOAK: Shape = Shape::Length { min: Duration::ZERO, max: Duration::from_secs(31 * 86_400) };

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
        Key::optional(
            "window",
            &WINDOWS,
            "When hosts of this wave may be worked on: a window, or a list of them; `[]` at any time.",
        ),
        Key::optional(
            "approval",
            &APPROVALS,
            "Who must approve the wave before its hosts start; `false` asks nobody.",
        ),
        Key::optional(
            "budget",
            &WAVE_BUDGET,
            "How many hosts of this wave may end badly, beside the budget of the fleet.",
        ),
        Key::optional(
            "at_most",
            &AT_MOST,
            "How many hosts of a failure domain may be away when one of this wave starts.",
        ),
        Key::optional(
            "barrier",
            &PARALLEL,
            "So many hosts begin, and the next ones when all of these have ended.",
        ),
        Key::optional(
            "soak",
            &SOAK,
            "How long it is watched after its last host has ended, before the waves after it start.",
        ),
        Key::optional(
            "health",
            &HEALTH,
            "What is asked from the controller while the wave runs and soaks.",
        ),
        Key::optional(
            "rehearse_rollback",
            &Shape::Flag,
            "Whether its canaries are migrated, rolled back, and migrated again, before the others start.",
        ),
        Key::optional(
            "rest",
            &Shape::Word(&["hop"]),
            "`hop`: its hosts rest after each hop but the last, until somebody resumes the run.",
        ),
    ],
    one_of: &[],
});

static APPROVALS: Shape = Shape::OneOf(&[Shape::Table(&APPROVAL), Shape::Flag]);

static APPROVAL: Table = Table {
    what: "an approval",
    keys: &[
        Key::required(
            "of",
            &Shape::List { of: &Shape::Form(&PRINCIPAL), min: 1 },
            "Who may: cto, alice@example.com.",
        ),
        Key::optional(
            "quorum",
            &Shape::Whole { min: 1, max: 100 },
            "So many different ones of them must; 1 by default.",
        ),
        Key::optional(
            "signed",
            &Shape::Flag,
            "Whether each signs with an SSH key; false by default.",
        ),
        Key::optional(
            "expires",
            &Shape::Length { min: Duration::from_secs(60), max: Duration::from_secs(366 * 86_400) },
            "How long an approval is good at most; \"7d\" by default.",
        ),
        Key::optional(
            "allowed_signers",
            &Shape::Text,
            "Whose keys are whose: a file as of `ssh-keygen -Y verify`, beside this one.",
        ),
        Key::optional("revoked_keys", &Shape::Text, "A file of public keys that sign no more."),
    ],
    one_of: &[],
};

static PRINCIPAL: Form = Form {
    what: "a principal",
    example: "cto",
    check: |text| match text.parse::<Principal>() {
        Ok(_) => Ok(()),
        Err(error) => Err(Refusal::new(error.to_string())),
    },
};

static WINDOWS: Shape =
    Shape::OneOf(&[Shape::Table(&WINDOW), Shape::List { of: &Shape::Table(&WINDOW), min: 0 }]);

static WINDOW: Table = Table {
    what: "a window",
    keys: &[
        Key::required(
            "from",
            &Shape::Form(&MOMENT),
            "When it opens: 2024-09-08 01:00, or a time of each day, 01:00.",
        ),
        Key::required(
            "to",
            &Shape::Form(&MOMENT),
            "When it closes. A time of the day that is not later than `from` is of the next day.",
        ),
        Key::required("zone", &Shape::Form(&ZONE), "Whose clocks show these times: Europe/Berlin."),
        Key::optional(
            "days",
            &Shape::List { of: &Shape::Word(&Day::WORDS), min: 1 },
            "Only on these days of the week; it is the day on which it opens that counts.",
        ),
        Key::optional(
            "dates",
            &Shape::List { of: &Shape::Form(&DATES), min: 1 },
            "Only on these dates: 2024-09-08, or from one to another, 2024-09-12..2024-09-18.",
        ),
        Key::optional(
            "except",
            &Shape::List { of: &Shape::Form(&PART), min: 1 },
            "Not on these days of the week or dates.",
        ),
    ],
    one_of: &[],
};

static MOMENT: Form = Form {
    what: "a time",
    example: "2024-09-08 01:00",
    check: |text| match text.contains('-') {
        true => parse_moment(text).map(drop),
        false => text.parse::<Clock>().map(drop),
    },
};

static ZONE: Form = Form {
    what: "a time zone",
    example: "Europe/Berlin",
    check: |text| text.parse::<Zone>().map(drop),
};

static DATES: Form = Form {
    what: "a date",
    example: "2024-09-12..2024-09-18",
    check: |text| text.parse::<Days>().map(drop),
};

static PART: Form = Form {
    what: "a day of the week or a date",
    example: "2024-12-24",
    check: |text| text.parse::<Part>().map(drop),
};

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
pub fn parse_percentage(text: &str) -> Result<Allowance, Refusal> {
    let number = text.strip_suffix('%').map(str::trim_end);
    match number.and_then(|number| number.parse().ok()) {
        Some(percent @ 0..=100) => Ok(Allowance::Percent(percent)),
        Some(_) => Err(Refusal::new("more than all hosts cannot fail").hint("at most \"100%\"")),
        None => Err(Refusal::new("this is neither a number of hosts nor a percentage")
            .hint("such as 3, or \"5%\"; whole numbers only")),
    }
}
