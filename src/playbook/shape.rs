//! The form of a playbook.

use crate::base::{
    fault::Refusal,
    name::StepName,
    shape::{Form, Key, Shape, Table, json_schema},
    template::{TemplateError, Templates},
    variables::VARIABLES,
};
use std::time::Duration;

/// The JSON Schema of playbooks.
pub fn schema() -> serde_json::Value {
    match &PLAYBOOK {
        Shape::Table(table) => json_schema(table, "fleetlift playbook"),
        _ => serde_json::Value::Null,
    }
}

/// The longest that anything on one host may take, by its own account.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) static PLAYBOOK: Shape = Shape::Table(&Table {
    what: "a playbook",
    keys: &[
        Key::required(
            "name",
            &Shape::Text,
            "What it does, for people: `CentOS 7 to Rocky Linux 9`.",
        ),
        Key::optional("support", &Shape::Text, "Who supports this way, in one sentence."),
        Key::optional(
            "from",
            &SYSTEM,
            "The system that a host must have before anything is changed.",
        ),
        Key::optional("to", &SYSTEM, "The system that a host must have at the end."),
        Key::optional(
            "vars",
            &VARIABLES,
            "Defaults of variables; the inventory's take precedence.",
        ),
        Key::optional(
            "hops",
            &Shape::List { of: &Shape::Text, min: 1 },
            "Instead of phases: playbooks that follow each other, by shipped name or by path.",
        ),
        Key::optional("backup", &STEPS, "Copies that a rollback needs."),
        Key::optional(
            "precheck",
            &STEPS,
            "Read-only questions; a blocker ends the host here, unchanged.",
        ),
        Key::optional("migrate", &STEPS, "Changes the host."),
        Key::optional("verify", &STEPS, "Proves that the host is what it should be now."),
        Key::optional("rollback", &STEPS, "Brings the host back."),
        Key::optional("commit", &STEPS, "Removes what a rollback would need."),
    ],
    one_of: &[],
});

static SYSTEM: Shape = Shape::Table(&Table {
    what: "a system",
    keys: &[
        Key::required("id", &Shape::Text, "`ID` of /etc/os-release: debian, rocky, centos."),
        Key::optional(
            "version",
            &Shape::Text,
            "`VERSION_ID` of /etc/os-release, or its beginning: 9 stands for 9.6 too.",
        ),
    ],
    one_of: &[],
});

/// The keys that say what a step does; it has one of them.
pub(super) const KINDS: &[&str] =
    &["run", "script", "upload", "template", "download", "reboot", "wait", "local", "compare"];

static STEPS: Shape = Shape::List { of: &STEP, min: 0 };

static TEXT_TEMPLATE: Shape = Shape::Form(&TEMPLATE);
static SHELL: Shape = Shape::Form(&COMMAND);
static CONDITION: Shape = Shape::Form(&EXPRESSION);
static LENGTH: Shape = Shape::Length { min: Duration::from_secs(1), max: LONGEST };

static STEP: Shape = Shape::Table(&Table {
    what: "a step",
    keys: &[
        Key::required("name", &Shape::Form(&STEP_NAME), "The step's name, unique in its phase."),
        Key::optional("run", &SHELL, "POSIX sh, run on the host."),
        Key::optional(
            "script",
            &Shape::Text,
            "A file of POSIX sh beside the playbook, run on the host as it is.",
        ),
        Key::optional(
            "upload",
            &UPLOAD,
            "A file beside the playbook, copied to the host as it is.",
        ),
        Key::optional(
            "template",
            &UPLOAD,
            "A file beside the playbook, rendered and written on the host.",
        ),
        Key::optional(
            "download",
            &DOWNLOAD,
            "A file of the host, copied into the run's artifacts.",
        ),
        Key::optional("reboot", &REBOOT, "A reboot, proven by the boot id."),
        Key::optional("wait", &WAIT, "Waits until something is there."),
        Key::optional("local", &SHELL, "POSIX sh, run on the controller."),
        Key::optional(
            "compare",
            &Shape::Word(&["services", "ports", "mounts", "failed-units"]),
            "Compares facts with those from before the first change.",
        ),
        Key::optional(
            "ignore",
            &Shape::List { of: &Shape::Text, min: 1 },
            "What a comparison leaves out.",
        ),
        Key::optional(
            "when",
            &CONDITION,
            "An expression over facts and variables; false skips the step.",
        ),
        Key::optional(
            "unless",
            &SHELL,
            "A guard, run on the host: passes where the work is done already.",
        ),
        Key::optional("verify", &SHELL, "Run on the host after the step; must pass."),
        Key::optional(
            "expect",
            &CONDITION,
            "An expression over stdout, stderr and exit; must hold.",
        ),
        Key::optional(
            "reads",
            &Shape::Word(&[
                "leapp",
                "convert2rhel",
                "migration-results",
                "apt",
                "do-release-upgrade",
            ]),
            "Whose own report is read after the command: it becomes findings by key, and decides with the exit code.",
        ),
        Key::optional(
            "report",
            &TEXT_TEMPLATE,
            "Where that report lies on the host; by default where the migrator writes it.",
        ),
        Key::optional("timeout", &LENGTH, "How long one attempt may take; 10m by default."),
        Key::optional(
            "retries",
            &Shape::Whole { min: 0, max: 100 },
            "How many more attempts follow a failed one.",
        ),
        Key::optional("retry_delay", &LENGTH, "How long after a failed attempt; 10s by default."),
        Key::optional(
            "ok_exit",
            &Shape::List { of: &Shape::Whole { min: 0, max: 255 }, min: 1 },
            "Exit codes that pass; [0] by default.",
        ),
        Key::optional("sudo", &Shape::Flag, "Overrides the connection's `sudo`."),
        Key::optional(
            "env",
            &Shape::Map { of: &TEXT_OR_EMPTY, keys: "environment variables" },
            "The step's environment.",
        ),
        Key::optional(
            "register",
            &Shape::Flag,
            "Keeps the output for later templates: steps.NAME.stdout.",
        ),
        Key::optional(
            "on_lost",
            &Shape::Word(&["probe", "rerun", "hold"]),
            "What to do when the step's result cannot be known.",
        ),
        Key::optional(
            "probe",
            &SHELL,
            "Run on the host when the result cannot be known; passes where the step is done.",
        ),
        Key::optional(
            "already",
            &Shape::Flag,
            "Asked also of a host that is found on the target, which must pass to count as already there.",
        ),
        Key::optional("arms", &Shape::Flag, "After this step any reboot migrates the host."),
        Key::optional("disarm", &SHELL, "Undoes `arms`."),
        Key::optional(
            "severity",
            &Shape::Word(&["blocker", "warning"]),
            "How much a failed precheck means.",
        ),
        Key::optional("remedy", &Shape::Text, "What a person can do about a failed precheck."),
        Key::optional("estimate", &LENGTH, "How long the step usually takes."),
    ],
    one_of: KINDS,
});

static TEXT_OR_EMPTY: Shape = Shape::Form(&MAY_BE_EMPTY);

static UPLOAD: Shape = Shape::Table(&Table {
    what: "a file to write",
    keys: &[
        Key::required("from", &Shape::Text, "The file, beside the playbook."),
        Key::required("to", &TEXT_TEMPLATE, "Where it goes on the host."),
        Key::optional(
            "mode",
            &Shape::Form(&MODE),
            "Its mode in octal digits; \"0644\" by default.",
        ),
    ],
    one_of: &[],
});

static DOWNLOAD: Shape = Shape::Table(&Table {
    what: "a download",
    keys: &[Key::required("from", &TEXT_TEMPLATE, "The file on the host.")],
    one_of: &[],
});

static REBOOT: Shape = Shape::Table(&Table {
    what: "a reboot",
    keys: &[
        Key::optional(
            "timeout",
            &LENGTH,
            "How long the host may take, all boots together; 15m by default.",
        ),
        Key::optional(
            "down",
            &LENGTH,
            "How long the old system may take to go down; 5m by default, or `timeout` where that is less.",
        ),
        Key::optional(
            "each",
            &LENGTH,
            "How long it may be dark at a stretch; `timeout` by default.",
        ),
        Key::optional(
            "boots",
            &Shape::Whole { min: 1, max: 20 },
            "How many boots are expected; 1 by default.",
        ),
        Key::optional(
            "into",
            &Shape::Word(&["from", "to"]),
            "The system of the playbook that it leads into; \"to\" by default where the host is armed, else any.",
        ),
        Key::optional(
            "new_host_key",
            &Shape::Flag,
            "The host has another host key afterwards, as after a reinstallation: it is taken, once, for this run.",
        ),
        Key::optional(
            "command",
            &SHELL,
            "The command that reboots; `systemctl reboot` by default, else `reboot`.",
        ),
        Key::optional(
            "until",
            &SHELL,
            "Run after each new boot; the reboot is over when it passes.",
        ),
    ],
    one_of: &[],
});

static WAIT: Shape = Shape::Table(&Table {
    what: "a wait",
    keys: &[
        Key::optional(
            "port",
            &Shape::Whole { min: 1, max: 65_535 },
            "A TCP port of the host answers the controller.",
        ),
        Key::optional("path", &TEXT_TEMPLATE, "A path exists on the host."),
        Key::optional("command", &SHELL, "A command passes on the host."),
        Key::later("url"),
    ],
    one_of: &["port", "path", "command"],
});

static STEP_NAME: Form = Form {
    what: "the name of a step",
    example: "archive-etc",
    check: |text| {
        text.parse::<StepName>().map(drop).map_err(|error| {
            Refusal::new(error.to_string())
                .hint("letters, digits, `-`, `_` and `.`, since it names a folder on the host")
        })
    },
};

static TEMPLATE: Form = Form {
    what: "text",
    example: "/etc/{{ name }}.conf",
    check: |text| {
        check_not_empty(text)?;
        check_template(text)
    },
};

static MAY_BE_EMPTY: Form = Form { what: "text", example: "{{ name }}", check: check_template };

static COMMAND: Form = Form {
    what: "a command",
    example: "systemctl restart {{ service | quote }}",
    check: |text| {
        check_not_empty(text)?;
        check_shell(text)?;
        check_template(text)
    },
};

static EXPRESSION: Form =
    Form { what: "an expression", example: "stdout | int >= 200", check: check_expression };

static MODE: Form = Form {
    what: "a mode",
    example: "0644",
    check: |text| match parse_mode(text) {
        Some(_) => Ok(()),
        None => Err(Refusal::new("a mode has three or four octal digits").hint("such as \"0644\"")),
    },
};

/// Reads `644`, `0644`.
pub(super) fn parse_mode(text: &str) -> Option<u32> {
    let digits = matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    digits.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

fn check_not_empty(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(Refusal::new("this must not be empty"));
    }
    Ok(())
}

/// Whether a script is one for `sh`. Everything is run by `sh`; a script for another shell could fail half way.
pub(super) fn check_shell(text: &str) -> Result<(), Refusal> {
    let Some(line) = text.strip_prefix("#!").and_then(|rest| rest.lines().next()) else {
        return Ok(());
    };
    let mut words = line.split_whitespace().map(|w| w.rsplit('/').next().unwrap_or(w));
    let shell = match words.next() {
        Some("env") => words.next(),
        other => other,
    };
    match shell {
        Some("sh" | "dash" | "ash") => Ok(()),
        Some(_) | None => {
            let message = "steps are run by `sh`, and the first line asks for something else";
            Err(Refusal::new(message)
                .at(0..line.len() + 2)
                .hint("upload the file, and run it with what it needs in a step after that"))
        }
    }
}

pub(super) fn check_template(text: &str) -> Result<(), Refusal> {
    if text.contains('\0') {
        return Err(Refusal::new("this must not contain a NUL character"));
    }
    Templates::default().names(text).map(drop).map_err(|error| refusal(error, "template"))
}

fn check_expression(text: &str) -> Result<(), Refusal> {
    check_not_empty(text)?;
    let result = Templates::default().expression_names(text);
    result.map(drop).map_err(|error| {
        let refusal = refusal(error, "expression");
        if text.contains("{{") {
            refusal.hint("an expression stands without `{{` and `}}`")
        } else {
            refusal
        }
    })
}

fn refusal(error: TemplateError, what: &str) -> Refusal {
    let refusal = Refusal::new(format!("the {what} cannot be read: {}", error.message));
    match error.range {
        Some(range) => refusal.at(range),
        None => refusal,
    }
}
