//! Templates and expressions: Jinja in the dialect of minijinja, strict about what is undefined.

use minijinja::{Environment, UndefinedBehavior};
use std::{collections::BTreeSet, ops::Range};

/// A value as templates see it.
pub fn value_of<T: serde::Serialize>(value: &T) -> minijinja::Value {
    minijinja::Value::from(minijinja::value::Serde(value))
}

/// What a template may do, in minijinja's units: a loop of a few thousand turns, and no more.
const FUEL: u64 = 200_000;

/// Why a text is not a template, or cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    pub message: String,
    /// Where in the template, in bytes.
    pub range: Option<Range<usize>>,
}

impl From<minijinja::Error> for TemplateError {
    fn from(error: minijinja::Error) -> Self {
        let message = match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        };
        Self { message, range: error.range() }
    }
}

/// The one environment that every template and expression of a plan is evaluated in.
#[derive(Debug)]
pub struct Templates {
    env: Environment<'static>,
}

impl Default for Templates {
    fn default() -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.set_fuel(Some(FUEL));
        env.add_filter("quote", quote);
        Self { env }
    }
}

/// Makes one shell word.
fn quote(value: &minijinja::Value) -> Result<String, minijinja::Error> {
    let text = value.to_string();
    match shlex::try_quote(&text) {
        Ok(word) => Ok(word.into_owned()),
        Err(error) => {
            Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, error.to_string()))
        }
    }
}

impl Templates {
    /// The names that a template asks for: `backup_dir`, `host`, `facts`, `steps`.
    pub fn names(&self, template: &str) -> Result<BTreeSet<String>, TemplateError> {
        if !template.contains("{{") && !template.contains("{%") && !template.contains("{#") {
            return Ok(BTreeSet::new());
        }
        let parsed = self.env.template_from_str(template)?;
        Ok(parsed.undeclared_variables(false).into_iter().collect())
    }

    /// The names that an expression asks for.
    pub fn expression_names(&self, expression: &str) -> Result<BTreeSet<String>, TemplateError> {
        let parsed = self.env.compile_expression(expression)?;
        Ok(parsed.undeclared_variables(false).into_iter().collect())
    }

    pub fn render(
        &self,
        template: &str,
        context: &minijinja::Value,
    ) -> Result<String, TemplateError> {
        if !template.contains("{{") && !template.contains("{%") && !template.contains("{#") {
            return Ok(template.to_owned());
        }
        let mut text = self.env.render_str(template, context)?;
        // minijinja drops one newline at the end; a file's last line keeps its own.
        if template.ends_with('\n') {
            text.push('\n');
        }
        Ok(text)
    }

    /// Whether an expression holds.
    pub fn holds(
        &self,
        expression: &str,
        context: &minijinja::Value,
    ) -> Result<bool, TemplateError> {
        Ok(self.env.compile_expression(expression)?.eval(context)?.is_true())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    #[test]
    fn a_template_keeps_every_byte_around_its_values() {
        let templates = Templates::default();
        let text = templates.render("a {{ x | quote }}\nb\n", &context! { x => "it's\n$(x)" });
        assert_eq!(text.as_deref(), Ok("a \"it's\n\"'$(x)'\nb\n"));
    }

    #[test]
    fn what_is_undefined_is_an_error() {
        let templates = Templates::default();
        assert!(templates.render("{{ nope }}", &context! {}).is_err());
        assert!(templates.render("{{ a.b.c }}", &context! { a => context! {} }).is_err());
    }

    #[test]
    fn names_are_found_before_anything_is_rendered() {
        let templates = Templates::default();
        let names = templates.names("{% for x in disks %}{{ x }}{{ host.name }}{% endfor %}");
        assert_eq!(names, Ok(["disks".to_owned(), "host".to_owned()].into()));
        let names = templates.expression_names("stdout | int >= limit");
        assert_eq!(names, Ok(["limit".to_owned(), "stdout".to_owned()].into()));
    }

    #[test]
    fn expressions_hold_or_do_not() {
        let templates = Templates::default();
        let context = context! { stdout => "250", exit => 0 };
        assert_eq!(templates.holds("stdout | int >= 200", &context), Ok(true));
        assert_eq!(templates.holds("exit != 0", &context), Ok(false));
    }
}
