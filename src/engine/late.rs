//! The values for what a plan could not render yet: texts that ask for facts, for outputs of steps, or for secrets.

use super::secrets::Secrets;
use crate::{
    base::{facts::Facts, template::value_of, value::Value},
    plan::{PlanHop, PlanHost},
    run::Registered,
};
use secrecy::ExposeSecret;
use std::{collections::BTreeMap, sync::Arc};

/// What late templates may ask for beside the host's variables.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub run: String,
    pub facts: Option<Arc<Facts>>,
    pub before: Option<Arc<Facts>>,
    pub registered: BTreeMap<String, Registered>,
}

/// The values that templates of this host are rendered with.
pub fn context(
    host: &PlanHost,
    hop: &PlanHop,
    known: &Known,
    secrets: &Secrets,
) -> Result<minijinja::Value, String> {
    let mut values: BTreeMap<String, minijinja::Value> = BTreeMap::new();
    for (name, value) in hop.vars.iter().chain(&host.vars) {
        let value = match value {
            Value::Plain(value) => value_of(value),
            Value::Secret(source) => {
                let secret = secrets.get(source).map_err(|e| e.to_string())?;
                minijinja::Value::from(secret.expose_secret())
            }
        };
        values.insert(name.clone(), value);
    }
    let about = crate::plan::host_value(&host.name, &host.groups, &host.labels, &host.addresses);
    values.insert("host".to_owned(), about);
    values.insert("run".to_owned(), minijinja::context! { id => known.run.as_str() });
    if let Some(facts) = &known.facts {
        values.insert("facts".to_owned(), value_of(&**facts));
    }
    values.insert("steps".to_owned(), value_of(&known.registered));
    Ok(minijinja::Value::from(values))
}
