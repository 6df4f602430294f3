//! Before and after: facts that must not have become less.

use crate::{base::facts::Facts, playbook::Compare};

/// Compares what a host was with what it is. The error says what is missing, or what has failed.
pub fn compare(
    before: Option<&Facts>,
    now: &Facts,
    what: Compare,
    ignore: &[String],
) -> Result<(), String> {
    let Some(before) = before else {
        return Err("nothing is known of the host before the migration".to_owned());
    };
    let (wanted, found, missing) = match what {
        Compare::Services => (&before.services, &now.services, "not active any more"),
        Compare::Ports => (&before.ports, &now.ports, "not listening any more"),
        Compare::Mounts => (&before.mounts, &now.mounts, "not mounted any more"),
        Compare::FailedUnits => (&now.failed_units, &before.failed_units, "failed since"),
    };
    let ignored = |name: &str| ignore.iter().any(|pattern| matches(pattern, name));
    let lost: Vec<&str> = wanted.difference(found).filter(|name| !ignored(name)).collect();
    if lost.is_empty() {
        return Ok(());
    }
    Err(format!("{missing}: {}", lost.join(", ")))
}

/// `*` at the end of a pattern stands for any rest: `getty@*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(head) => name.starts_with(head),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(names: &[&str]) -> Facts {
        Facts { services: names.iter().map(|n| (*n).to_owned()).collect(), ..Facts::default() }
    }

    #[test]
    fn what_is_missing_is_named_and_what_is_new_is_not() {
        let before = services(&["nginx", "sshd", "getty@tty1"]);
        let now = services(&["sshd", "chronyd"]);
        let ignore = ["getty@*".to_owned()];
        let found = compare(Some(&before), &now, Compare::Services, &ignore);
        assert_eq!(found, Err("not active any more: nginx".to_owned()));
        assert_eq!(compare(Some(&now), &now, Compare::Services, &[]), Ok(()));
        assert!(compare(None, &now, Compare::Services, &[]).is_err());
    }
}
