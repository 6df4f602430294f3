//! Names: newtypes that can only be made by parsing.

use super::text_set::Text;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// The longest name of anything, in bytes: what DNS allows a host name.
pub const NAME_BYTES_MAX: usize = 253;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a {what} must not be empty")]
    Empty { what: &'static str },
    #[error("a {what} has at most {NAME_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong { what: &'static str, bytes: usize },
    #[error("a {what} must not contain {found:?}")]
    Forbidden { what: &'static str, found: char },
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let allowed: fn(char) -> bool = $allowed;
                if text.is_empty() {
                    return Err(NameError::Empty { what: $what });
                }
                if text.len() > NAME_BYTES_MAX {
                    return Err(NameError::TooLong { what: $what, bytes: text.len() });
                }
                if let Some(found) = text.chars().find(|c| !allowed(*c)) {
                    return Err(NameError::Forbidden { what: $what, found });
                }
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Text::deserialize(from)?.0.parse().map_err(D::Error::custom)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "minLength": 1, "description": $what })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

/// Characters that would make a name unsayable in a selection, or unsafe on a terminal.
fn sayable(c: char) -> bool {
    !c.is_control() && !matches!(c, ',' | '!' | '&' | '@' | '*' | '?' | '[' | ']' | '=' | '/')
}

/// Letters, digits, `-`, `_` and `.`: usable as a file name on any host.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// What a list of allowed signers can name as one person.
fn personal(c: char) -> bool {
    !c.is_control() && !c.is_whitespace() && !matches!(c, ',' | '"' | '*' | '?' | '!' | '#')
}

name!(
    /// What the operator calls a host; its address may differ.
    HostName, "host name", sayable);
name!(
    /// A group of hosts.
    GroupName, "group name", sayable);
name!(
    /// A step, unique within its phase and hop. It is a part of a directory's name on the host.
    StepName, "step name", plain);
name!(
    /// A wave of a rollout.
    WaveName, "wave name", sayable);
name!(
    /// Who may approve: `cto`, `alice@example.com`.
    Principal, "principal", personal);
name!(
    /// A run: `20261121-0915-kx3f`, when it began (UTC) and four characters of chance.
    RunId, "run", plain);
name!(
    /// What one process asks of another that drives a run: `1795260720000-k3fx`, when it was asked and some chance.
    RequestId, "request", plain);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_may_hold_what_a_shell_finds_dangerous() {
        for text in ["web-01", "it's", "a b", "$(reboot)", "数据库-1", "x;y", "fe80::1", "\"q\""]
        {
            assert_eq!(text.parse::<HostName>().map(|n| n.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_host_name_may_not_hold_what_a_selection_means() {
        for text in ["", "a,b", "!a", "@a", "a&b", "web-*", "a\nb", "a\u{1b}[0m", "a=b", "../a"] {
            assert!(text.parse::<HostName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_step_name_is_a_safe_file_name() {
        assert!("leapp-upgrade".parse::<StepName>().is_ok());
        assert!("a b".parse::<StepName>().is_err());
        assert!("a/b".parse::<StepName>().is_err());
    }
}
