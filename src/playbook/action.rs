//! What a step does, with the files that it needs.

use super::{
    Action, Compare, HopSystem, Reboot, StepFile, WaitFor,
    files::{Origin, UPLOAD_BYTES_MAX},
    read::Reader,
    shape::{check_shell, check_template, parse_mode},
};
use crate::base::{
    fault::{Refusal, Source},
    shape::{Collector, Node},
};
use std::{sync::Arc, time::Duration};

const REBOOT_TIMEOUT: Duration = Duration::from_secs(900);
/// Services that are slow to stop are given this time; databases may need more.
const GOING_DOWN: Duration = Duration::from_secs(300);
const FILE_MODE: u32 = 0o644;

/// Reads the action of a step. `None` where there is none, or not exactly one, or it has a fault.
pub(super) fn read_action(
    table: &Node,
    origin: &Origin,
    out: &mut Collector<'_>,
    reader: &mut Reader,
) -> Option<Action> {
    let text = |key: &str| table.get(key).and_then(Node::text);
    if let Some(run) = text("run") {
        return Some(Action::Run(run.into()));
    }
    if let Some(node) = table.get("script") {
        let source = text_file(node, origin, out)?;
        let script = script(node, &source, out, reader);
        reader.files.push(asked_for(source));
        return script;
    }
    if let Some(upload) = table.get("upload") {
        return read_upload(upload, origin, out, reader);
    }
    if let Some(template) = table.get("template") {
        return read_template(template, origin, out, reader);
    }
    if let Some(download) = table.get("download") {
        return Some(Action::Download { from: download.get("from")?.text()?.to_owned() });
    }
    if let Some(reboot) = table.get("reboot") {
        return Some(Action::Reboot(read_reboot(reboot, out)));
    }
    if let Some(wait) = table.get("wait") {
        return read_wait(wait).map(Action::Wait);
    }
    if let Some(local) = text("local") {
        return Some(Action::Local(local.into()));
    }
    let what = compare(text("compare")?)?;
    let ignore = table.get("ignore").map_or(&[][..], Node::items).iter();
    let ignore = ignore.filter_map(Node::text).map(str::to_owned).collect();
    Some(Action::Compare { what, ignore })
}

fn read_reboot(table: &Node, out: &mut Collector<'_>) -> Reboot {
    let text = |key: &str| table.get(key).and_then(Node::text).map(Arc::<str>::from);
    let length = |key: &str| table.get(key).and_then(Node::length);
    let timeout = length("timeout").unwrap_or(REBOOT_TIMEOUT);
    for key in ["down", "each"] {
        if let Some(node) = table.get(key).filter(|node| node.length() > Some(timeout)) {
            let whole = crate::base::time::format_length(timeout);
            let message = format!("`{key}` is longer than the whole reboot may take, {whole}");
            out.add_with_hint(&node.range, message, "raise `timeout`, which is for all of it");
        }
    }
    Reboot {
        timeout,
        down: length("down").unwrap_or(GOING_DOWN).min(timeout),
        each: length("each").unwrap_or(timeout),
        boots: table.get("boots").and_then(Node::whole).unwrap_or(1),
        into: table.get("into").and_then(into),
        new_host_key: table.get("new_host_key").and_then(Node::flag).unwrap_or(false),
        command: text("command"),
        until: text("until"),
    }
}

fn into(node: &Node) -> Option<HopSystem> {
    match node.text()? {
        "from" => Some(HopSystem::From),
        "to" => Some(HopSystem::To),
        _ => None,
    }
}

fn read_wait(table: &Node) -> Option<WaitFor> {
    if let Some(port) = table.get("port") {
        return port.whole().map(WaitFor::Port);
    }
    if let Some(path) = table.get("path") {
        return path.text().map(|path| WaitFor::Path(path.to_owned()));
    }
    table.get("command")?.text().map(|command| WaitFor::Command(command.into()))
}

fn compare(word: &str) -> Option<Compare> {
    match word {
        "services" => Some(Compare::Services),
        "ports" => Some(Compare::Ports),
        "mounts" => Some(Compare::Mounts),
        "failed-units" => Some(Compare::FailedUnits),
        _ => None,
    }
}

/// A script is not a template: what looks like one in it is written so that it renders as it stands.
fn script(
    node: &Node,
    source: &Source,
    out: &mut Collector<'_>,
    reader: &mut Reader,
) -> Option<Action> {
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    if text.trim().is_empty() {
        out.add(&node.range, "the script is empty");
        return None;
    }
    if let Some(at) = source.text.find('\r') {
        let mut inner = Collector::new(source);
        inner.add_with_hint(
            &(at..at + 1),
            "the script has carriage returns, which a shell takes for a part of its words",
            "save it with the line ends of Unix; `dos2unix` converts",
        );
        reader.faults.append(&mut inner.faults);
        return None;
    }
    if let Err(refusal) = check_shell(text) {
        reader.faults.push(in_file(source, refusal));
        return None;
    }
    Some(Action::Run(literal(text).into()))
}

fn in_file(source: &Source, refusal: Refusal) -> crate::base::fault::Fault {
    let range = refusal.range.unwrap_or(0..0);
    let mut fault = crate::base::fault::Fault::at(source, range, refusal.message);
    fault.hint = refusal.hint;
    fault
}

/// A template that renders to just this text.
fn literal(text: &str) -> String {
    let mut template = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '{' && matches!(chars.peek(), Some('{' | '%' | '#')) {
            template.push_str("{{'{'}}");
        } else {
            template.push(c);
        }
    }
    template
}

fn asked_for(source: Source) -> StepFile {
    StepFile { path: source.path, content: source.text.into() }
}

fn read_upload(
    table: &Node,
    origin: &Origin,
    out: &mut Collector<'_>,
    reader: &mut Reader,
) -> Option<Action> {
    let node = table.get("from")?;
    let from = node.text()?;
    let (path, read) = origin.beside(from);
    let content: Arc<[u8]> = match read {
        Ok(content) if content.len() > UPLOAD_BYTES_MAX => {
            let message = format!("`{from}` has {} MiB, more than 64", content.len() >> 20);
            out.add_with_hint(&node.range, message, "let the host fetch it with a `run` step");
            return None;
        }
        Ok(content) => content.into(),
        Err(error) => {
            unreadable(node, from, &error, out);
            return None;
        }
    };
    reader.files.push(StepFile { path, content: Arc::clone(&content) });
    let (to, mode) = destination(table)?;
    Some(Action::Upload { from: from.to_owned(), to, mode, content })
}

fn read_template(
    table: &Node,
    origin: &Origin,
    out: &mut Collector<'_>,
    reader: &mut Reader,
) -> Option<Action> {
    let source = text_file(table.get("from")?, origin, out)?;
    let text = Arc::clone(&source.text);
    let checked = check_template(&text);
    if let Err(refusal) = checked {
        reader.faults.push(in_file(&source, refusal));
        return None;
    }
    reader.files.push(asked_for(source));
    let (to, mode) = destination(table)?;
    Some(Action::Template { text, to, mode })
}

fn destination(table: &Node) -> Option<(String, u32)> {
    let to = table.get("to")?.text()?.to_owned();
    let mode = table.get("mode").and_then(Node::text).and_then(parse_mode);
    Some((to, mode.unwrap_or(FILE_MODE)))
}

/// Reads a file of text that a step names. That it cannot be read is said where it is named.
fn text_file(node: &Node, origin: &Origin, out: &mut Collector<'_>) -> Option<Source> {
    let text = node.text()?;
    let (path, read) = origin.beside(text);
    match read {
        Err(error) => {
            unreadable(node, text, &error, out);
            None
        }
        Ok(bytes) => match Source::from_read(&path, Ok(bytes)) {
            Ok(source) => Some(source),
            Err(fault) => {
                out.faults.push(fault);
                None
            }
        },
    }
}

fn unreadable(node: &Node, text: &str, error: &std::io::Error, out: &mut Collector<'_>) {
    let message = match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no file `{text}`"),
        std::io::ErrorKind::IsADirectory => format!("`{text}` is a folder, not a file"),
        _ => format!("`{text}` cannot be read: {error}"),
    };
    let hint = if text.contains("{{") {
        "files of the controller are read before anything is rendered: name it without `{{ }}`"
    } else {
        "paths begin at the playbook's own folder"
    };
    out.add_with_hint(&node.range, message, hint);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::template::Templates;

    #[test]
    fn a_script_renders_to_itself() {
        let scripts = [
            "echo ${x}",
            "echo {{ x }} {% y %} {# z #}",
            "{{{{{%%{#{",
            "awk '{{print}}'\n",
            "{% endraw %}{{'{'}}\n\n",
            "a }} b %} {",
        ];
        for script in scripts {
            let rendered =
                Templates::default().render(&literal(script), &minijinja::Value::UNDEFINED);
            assert_eq!(rendered.as_deref(), Ok(script));
        }
    }
}
