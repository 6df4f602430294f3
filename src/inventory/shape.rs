//! The form of `hosts.toml`.

use crate::base::{
    anchor::{PATH, SECRET},
    fault::Refusal,
    name::GroupName,
    range::expand,
    shape::{Form, Key, Shape, Table, json_schema},
    variables::VARIABLES,
};
use std::time::Duration;

/// The JSON Schema of inventories.
pub fn schema() -> serde_json::Value {
    match &INVENTORY {
        Shape::Table(table) => json_schema(table, "fleetlift inventory"),
        _ => serde_json::Value::Null,
    }
}

pub(super) static INVENTORY: Shape = Shape::Table(&Table {
    what: "an inventory",
    keys: &[
        Key::optional(
            "connection",
            &CONNECTION,
            "How to reach hosts; a group or a host may say otherwise.",
        ),
        Key::optional("vars", &VARIABLES, "Variables that hold for every host."),
        Key::optional("groups", &GROUPS, "Groups of hosts, by name."),
        Key::optional("hosts", &HOSTS, "Hosts that have something of their own to say, by name."),
    ],
    one_of: &[],
});

static GROUPS: Shape = Shape::Map { of: &GROUP, keys: "groups" };
static HOSTS: Shape = Shape::Map { of: &HOST, keys: "hosts" };

static GROUP: Shape = Shape::Table(&Table {
    what: "a group",
    keys: &[
        Key::optional(
            "hosts",
            &Shape::List { of: &Shape::Form(&HOST_RANGE), min: 0 },
            "Names of hosts, also as ranges: web-[01:08], web-[01-08], [a:c].",
        ),
        Key::optional(
            "children",
            &Shape::List { of: &Shape::Form(&GROUP_NAME), min: 0 },
            "Groups whose hosts are in this group too.",
        ),
        Key::optional("vars", &VARIABLES, "Variables of the group's hosts."),
        Key::optional("labels", &LABELS, "Labels of the group's hosts."),
        Key::optional("connection", &CONNECTION, "How to reach the group's hosts."),
    ],
    one_of: &[],
});

static HOST: Shape = Shape::Table(&Table {
    what: "a host",
    keys: &[
        Key::optional(
            "address",
            &Shape::OneOf(&[
                Shape::Form(&ADDRESS),
                Shape::List { of: &Shape::Form(&ADDRESS), min: 1 },
            ]),
            "A DNS name or an IP address, or several that are tried in order. By default the host's name.",
        ),
        Key::optional("vars", &VARIABLES, "Variables of the host."),
        Key::optional("labels", &LABELS, "Labels of the host: rack, pair, site."),
        Key::optional("connection", &CONNECTION, "How to reach the host."),
    ],
    one_of: &[],
});

static LABELS: Shape = Shape::Map { of: &Shape::Text, keys: "labels" };
static PATHS: Shape =
    Shape::OneOf(&[Shape::Form(&PATH), Shape::List { of: &Shape::Form(&PATH), min: 1 }]);
static SOURCE_OF_SECRET: Shape = Shape::Form(&SECRET);
static SECONDS: Shape =
    Shape::Length { min: Duration::from_secs(1), max: Duration::from_secs(3600) };

static CONNECTION: Shape = Shape::Table(&Table {
    what: "a connection",
    keys: &[
        Key::optional(
            "port",
            &Shape::Whole { min: 1, max: 65_535 },
            "The port of sshd; 22 by default.",
        ),
        Key::optional(
            "user",
            &Shape::Form(&USER),
            "The user to log in as; your own name by default.",
        ),
        Key::optional("identity", &PATHS, "Private keys to offer, in order."),
        Key::optional("agent", &Shape::Flag, "Whether to ask the SSH agent; true by default."),
        Key::optional("passphrase", &SOURCE_OF_SECRET, "Opens encrypted keys."),
        Key::optional(
            "password",
            &SOURCE_OF_SECRET,
            "For password authentication, which is tried last.",
        ),
        Key::optional("known_hosts", &PATHS, "Files with the keys of hosts."),
        Key::optional(
            "host_key",
            &Shape::Word(&["strict", "accept-new"]),
            "What to do about an unknown host key: refuse it (the default), or take it and write it down.",
        ),
        Key::optional(
            "sudo",
            &Shape::Flag,
            "Whether steps run as root through sudo; true by default.",
        ),
        Key::optional("sudo_password", &SOURCE_OF_SECRET, "The password that sudo asks for."),
        Key::optional(
            "connect_timeout",
            &SECONDS,
            "For the TCP connection, and for the key exchange; 10s by default.",
        ),
        Key::optional("auth_timeout", &SECONDS, "For all of authentication; 20s by default."),
        Key::optional(
            "keepalive",
            &SECONDS,
            "A keep-alive after this much silence; 15s by default.",
        ),
        Key::optional(
            "remote_dir",
            &Shape::Form(&REMOTE_DIR),
            "Where steps keep their files on the host; /var/lib/fleetlift by default, ~/.fleetlift without root.",
        ),
        Key::optional(
            "allow_shared_machine",
            &Shape::Flag,
            "Two hosts with one machine id are a mistake, and refused, unless this is true.",
        ),
        Key::later("jump"),
        Key::later("ssh_config"),
    ],
    one_of: &[],
});

static HOST_RANGE: Form =
    Form { what: "the name of a host", example: "web-[01:08]", check: check_host_range };

static GROUP_NAME: Form = Form {
    what: "the name of a group",
    example: "web",
    check: |text| {
        check_ends(text)?;
        text.parse::<GroupName>().map(drop).map_err(|error| Refusal::new(error.to_string()))
    },
};

static ADDRESS: Form = Form { what: "an address", example: "10.0.4.11", check: check_address };
static USER: Form = Form { what: "the name of a user", example: "admin", check: check_user };
static REMOTE_DIR: Form =
    Form { what: "a folder of the host", example: "/var/lib/fleetlift", check: check_remote_dir };

/// Names of hosts and groups are compared with what is typed, where white space at the ends is lost.
pub(super) fn check_ends(name: &str) -> Result<(), Refusal> {
    if name.trim() != name {
        return Err(Refusal::new("a name must not begin or end with white space"));
    }
    Ok(())
}

pub(super) fn check_host_range(text: &str) -> Result<(), Refusal> {
    if text.contains('*') || text.contains('?') {
        return Err(Refusal::new("an inventory names its hosts: `*` and `?` are for selections")
            .hint("a range is like `web-[01:08]`"));
    }
    if let Some(group) = text.strip_prefix('@') {
        return Err(Refusal::new("`hosts` holds names of hosts")
            .hint(format!("groups stand in `children`: children = [\"{group}\"]")));
    }
    // The names themselves are looked at when they are read; here it is the form of the ranges.
    expand(text).map(drop)
}

fn check_address(text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(Refusal::new("an address must not be empty"));
    }
    if let Some(found) = text.chars().find(|c| c.is_whitespace() || c.is_control() || *c == '/') {
        return Err(Refusal::new(format!("an address does not contain {found:?}")));
    }
    if let Some((user, address)) = text.split_once('@') {
        return Err(Refusal::new("an address is only where the host is")
            .hint(format!("address = \"{address}\" and connection.user = \"{user}\"")));
    }
    if let Some((inner, rest)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        let port = rest.strip_prefix(':').map(|port| format!(" and connection.port = {port}"));
        return Err(Refusal::new("an IPv6 address stands without brackets")
            .hint(format!("address = \"{inner}\"{}", port.unwrap_or_default())));
    }
    // More than one colon makes an IPv6 address.
    if let Some((address, port)) = text.split_once(':')
        && !port.contains(':')
    {
        return Err(Refusal::new("the port is not a part of the address")
            .hint(format!("address = \"{address}\" and connection.port = {port}")));
    }
    Ok(())
}

fn check_user(text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(Refusal::new("a user's name must not be empty"));
    }
    match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        Some(found) => Err(Refusal::new(format!("a user's name does not contain {found:?}"))),
        None => Ok(()),
    }
}

fn check_remote_dir(text: &str) -> Result<(), Refusal> {
    if text.contains(['\0', '\n']) {
        return Err(Refusal::new("a folder's path is one line"));
    }
    if !text.starts_with('/') && !text.starts_with("~/") {
        return Err(Refusal::new("a folder of the host is named in full")
            .hint("such as \"/var/lib/fleetlift\" or \"~/.fleetlift\""));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(Refusal::new("`..` has no place here"));
    }
    if text.trim_end_matches('/').is_empty() || text == "~/" {
        return Err(Refusal::new("steps need a folder of their own on the host"));
    }
    Ok(())
}
