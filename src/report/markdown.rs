//! The report as Markdown that reads well as plain text, too.

use super::{
    content,
    document::{Block, Chart, ColumnKind, Document, Row, Span, Table, sentence},
    model::Report,
    words::Words,
};
use std::fmt::Write as _;

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let document = content::document(report, Words::english());
    let mut out = String::new();
    write_head(&mut out, &document);
    for section in &document.sections {
        let _ = write!(out, "## {}\n\n", escape(&section.title));
        for block in &section.blocks {
            write_block(&mut out, block);
        }
    }
    out.push_str("---\n\n");
    for line in &document.footer {
        let _ = write!(out, "{}\n\n", spans(line));
    }
    // One newline ends the file.
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn write_head(out: &mut String, document: &Document) {
    let _ = write!(out, "# {}\n\n{}\n\n", escape(&document.title), escape(&document.subtitle));
    let _ = write!(out, "**{}.** {}\n\n", escape(&document.verdict.0), escape(&document.lead));
    let Document { figures, todo, todo_title, .. } = document;
    out.push_str("| | | |\n|---|---:|---|\n");
    for figure in figures {
        let [label, value, note] = [&figure.label, &figure.value, &figure.note].map(|t| escape(t));
        let _ = writeln!(out, "| {label} | **{value}** | {note} |");
    }
    out.push('\n');
    if !todo.is_empty() {
        let _ = write!(out, "**{}**\n\n", escape(todo_title));
        for line in todo {
            let _ = writeln!(out, "- {}", spans(line));
        }
        out.push('\n');
    }
}

fn write_block(out: &mut String, block: &Block) {
    match block {
        Block::Paragraph(line) => {
            let _ = write!(out, "{}\n\n", spans(line));
        }
        Block::Note(note) => {
            let _ = write!(out, "_{}_\n\n", spans(&sentence(note)));
        }
        Block::Heading(line) => {
            let _ = write!(out, "### {}\n\n", spans(line));
        }
        Block::Facts(facts) => {
            for (label, value) in facts {
                let _ = writeln!(out, "- **{}:** {}", escape(label), spans(value));
            }
            out.push('\n');
        }
        Block::Table(table) => write_table(out, table),
        Block::Output(lines) => {
            // Four spaces make a block that no line of output can end.
            for line in lines {
                let _ = writeln!(out, "    {line}");
            }
            out.push('\n');
        }
        Block::Fold { summary, blocks, .. } => {
            let _ = write!(out, "### {}\n\n", spans(summary));
            for block in blocks {
                write_block(out, block);
            }
        }
        Block::Chart(chart) => write_chart(out, chart),
    }
}

/// Pictures whose numbers stand in a table beside them are left out.
fn write_chart(out: &mut String, chart: &Chart) {
    match chart {
        Chart::Counts { .. } | Chart::Batches { .. } | Chart::Load(_) => {}
        Chart::Timeline(timeline) => {
            for row in &timeline.rows {
                let bars: Vec<&str> = row.bars.iter().map(|bar| bar.title.as_str()).collect();
                let _ = writeln!(out, "- **{}**: {}", escape(&row.host), escape(&bars.join(", ")));
            }
            out.push('\n');
        }
    }
}

fn write_table(out: &mut String, table: &Table) {
    out.push('|');
    for column in &table.head {
        let _ = write!(out, " {} |", escape(&column.title));
    }
    out.push_str("\n|");
    for column in &table.head {
        out.push_str(match column.kind {
            ColumnKind::Text | ColumnKind::Wide => "---|",
            ColumnKind::Number => "---:|",
        });
    }
    out.push('\n');
    for Row { cells, total } in &table.rows {
        out.push('|');
        for cell in cells {
            let cell = spans(cell);
            // The name of the total is strong already.
            let strong = *total && !cell.starts_with("**");
            let _ = if strong { write!(out, " **{cell}** |") } else { write!(out, " {cell} |") };
        }
        out.push('\n');
    }
    out.push('\n');
}

fn spans(line: &[Span]) -> String {
    let mut out = String::new();
    for span in line {
        match span {
            Span::Text(text) | Span::Muted(text) => out.push_str(&escape(text)),
            Span::Strong(text) => surround(&mut out, text, "**"),
            Span::Tone(_, text) => out.push_str(&escape(text)),
            Span::Code(text) => out.push_str(&code(text)),
            Span::State(state, label) => {
                let _ = write!(out, "{} {}", state.sign(), escape(label));
            }
        }
    }
    out
}

/// Marks must touch what they mark, so blanks around it stay outside.
fn surround(out: &mut String, text: &str, mark: &str) {
    let inner = text.trim();
    let start = text.len() - text.trim_start().len();
    out.push_str(&text[..start]);
    let _ = write!(out, "{mark}{}{mark}", escape(inner));
    out.push_str(&text[start + inner.len()..]);
}

/// Code between as many back quotes as it needs.
fn code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let text = text.replace('|', "\\|");
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Text that means itself: no HTML, no links, no marks, no cells. What is harmless stays as it is, so that the source
/// reads well.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let after = rest.peek().copied().unwrap_or(' ');
        let marks = match c {
            '<' => {
                out.push_str("&lt;");
                before = c;
                continue;
            }
            '\\' | '`' | '*' | '|' | '~' => true,
            // A link needs a bracket that closes before a parenthesis that opens.
            ']' => matches!(after, '(' | '['),
            // Within a word it marks nothing.
            '_' => !(before.is_alphanumeric() && after.is_alphanumeric()),
            '&' => after == '#' || after.is_ascii_alphabetic(),
            _ => false,
        };
        if marks {
            out.push('\\');
        }
        out.push(c);
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_means_itself() {
        assert_eq!(escape("<b> a|b *x*"), "&lt;b> a\\|b \\*x\\*");
        assert_eq!(escape("[a](b) &lt; &"), "[a\\](b) \\&lt; &");
        assert_eq!(escape("a_b web-[01-02] _c_"), "a_b web-[01-02] \\_c\\_");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
    }
}
