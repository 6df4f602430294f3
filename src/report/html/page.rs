//! The page around the sections, and its blocks.

use super::{
    SCRIPT, STYLE, chart, security_policy,
    write::{Attributes, Html},
};
use crate::report::{
    document::{Block, Column, ColumnKind, Document, Row, Section, Span, Table, sentence},
    state::Tone,
    words::Words,
};

/// Rows that a browser lays out at once. Longer tables are cut, so that what is out of sight costs nothing.
const CHUNK_ROWS: usize = 250;

pub(super) struct Page<'a> {
    html: Html,
    words: &'a Words,
}

impl<'a> Page<'a> {
    pub fn new(words: &'a Words) -> Self {
        Self { html: Html::default(), words }
    }

    pub fn write(mut self, document: &Document) -> String {
        let html = &mut self.html;
        html.constant("<!DOCTYPE html>\n<html lang=\"");
        html.text(self.words.get("language.code"));
        html.constant("\">\n<head>\n<meta charset=\"utf-8\">\n");
        let policy = security_policy();
        html.void("meta", &[("http-equiv", "Content-Security-Policy"), ("content", &policy)]);
        html.constant(
            "\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
        );
        html.constant("<meta name=\"color-scheme\" content=\"light dark\">\n");
        html.leaf("title", &[], &document.title);
        html.constant("\n<style>\n");
        html.constant(STYLE);
        html.constant("</style>\n</head>\n<body>\n");
        html.constant(chart::PATTERNS);
        html.element("main", &[], |html| {
            let mut page = Inner { html, words: self.words };
            page.cover(document);
            for section in &document.sections {
                page.section(section);
            }
            page.footer(document);
        });
        html.constant("\n<script>");
        html.constant(SCRIPT);
        html.constant("</script>\n</body>\n</html>\n");
        self.html.finish()
    }
}

/// The page while it is written.
struct Inner<'a> {
    html: &'a mut Html,
    words: &'a Words,
}

impl Inner<'_> {
    fn element(
        &mut self,
        tag: &'static str,
        attributes: Attributes<'_>,
        inner: impl FnOnce(&mut Inner<'_>),
    ) {
        let words = self.words;
        self.html.element(tag, attributes, |html| inner(&mut Inner { html, words }));
    }

    fn cover(&mut self, document: &Document) {
        self.element("header", &[("class", "cover")], |page| {
            page.html.leaf("p", &[("class", "kicker")], &document.subtitle);
            page.html.leaf("h1", &[], &document.title);
            let (verdict, tone) = &document.verdict;
            page.element("p", &[("class", "lead")], |page| {
                page.badge(*tone, mark(*tone), verdict);
                page.html.text(" ");
                page.html.text(&document.lead);
            });
            chart::write(page.html, &document.counts);
            page.figures(document);
            page.todo(document);
        });
        self.html.line();
        self.element("nav", &[("aria-label", document.contents_title.as_str())], |page| {
            page.element("ul", &[], |page| {
                for section in &document.sections {
                    let href = format!("#{}", section.id);
                    page.html.element("li", &[], |html| {
                        html.leaf("a", &[("href", &href)], &section.title)
                    });
                }
            });
        });
        self.html.line();
    }

    fn figures(&mut self, document: &Document) {
        self.element("dl", &[("class", "figures")], |page| {
            for figure in &document.figures {
                page.element("div", &[], |page| {
                    page.html.leaf("dt", &[], &figure.label);
                    page.html.element("dd", &[], |html| {
                        html.leaf("b", &[], &figure.value);
                        html.leaf("span", &[("class", "muted")], &figure.note);
                    });
                });
            }
        });
    }

    fn todo(&mut self, document: &Document) {
        if document.todo.is_empty() {
            return;
        }
        self.element("aside", &[("class", "todo")], |page| {
            page.html.leaf("h2", &[], &document.todo_title);
            page.element("ul", &[], |page| {
                for line in &document.todo {
                    page.element("li", &[], |page| page.spans(line));
                }
            });
        });
    }

    fn section(&mut self, section: &Section) {
        self.html.line();
        self.element("section", &[("id", section.id)], |page| {
            page.html.leaf("h2", &[], &section.title);
            for block in &section.blocks {
                page.block(block);
            }
        });
        self.html.line();
    }

    fn footer(&mut self, document: &Document) {
        self.element("footer", &[], |page| {
            for line in &document.footer {
                page.element("p", &[], |page| page.spans(line));
            }
        });
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Paragraph(line) => {
                self.element("p", &[("class", "case")], |page| page.spans(line))
            }
            Block::Note(note) => {
                self.element("p", &[("class", "note")], |page| page.spans(&sentence(note)));
            }
            Block::Heading(line) => self.element("h3", &[], |page| page.spans(line)),
            Block::Facts(facts) => self.element("dl", &[("class", "facts")], |page| {
                for (label, value) in facts {
                    page.html.leaf("dt", &[], label);
                    page.element("dd", &[], |page| page.spans(value));
                }
            }),
            Block::Output(lines) => self.html.leaf("pre", &[("tabindex", "0")], &lines.join("\n")),
            Block::Table(table) => self.table(table),
            Block::Chart(chart) => chart::write(self.html, chart),
            Block::Fold { summary, open, blocks } => {
                let open: Attributes<'_> = if *open { &[("open", "")] } else { &[] };
                self.element("details", open, |page| {
                    page.element("summary", &[], |page| page.spans(summary));
                    for block in blocks {
                        page.block(block);
                    }
                });
            }
        }
        self.html.line();
    }

    fn table(&mut self, table: &Table) {
        let class = if table.long { "table long" } else { "table" };
        let attributes = [
            ("class", class),
            ("data-filter", self.words.get("search.label")),
            ("data-none", self.words.get("search.none")),
        ];
        let attributes = if table.long { &attributes[..] } else { &attributes[..1] };
        self.element("div", attributes, |page| {
            if table.rows.len() <= CHUNK_ROWS {
                page.rows(table, &table.rows, "scroll");
                return;
            }
            for rows in table.rows.chunks(CHUNK_ROWS) {
                page.rows(table, rows, "scroll chunk");
            }
        });
    }

    fn rows(&mut self, table: &Table, rows: &[Row], class: &str) {
        self.element("div", &[("class", class), ("tabindex", "0")], |page| {
            page.element("table", &[], |page| {
                page.html.element("thead", &[], |html| {
                    html.element("tr", &[], |html| {
                        for Column { title, kind } in &table.head {
                            html.leaf("th", &[("scope", "col"), ("class", column(*kind))], title);
                        }
                    });
                });
                page.element("tbody", &[], |page| {
                    for row in rows {
                        page.row(&table.head, row);
                    }
                });
            });
        });
    }

    fn row(&mut self, head: &[Column], row: &Row) {
        let class: Attributes<'_> = if row.total { &[("class", "total")] } else { &[] };
        self.html.line();
        self.element("tr", class, |page| {
            for (cell, Column { kind, .. }) in row.cells.iter().zip(head) {
                let class: Attributes<'_> = match kind {
                    ColumnKind::Text => &[],
                    ColumnKind::Wide | ColumnKind::Number => &[("class", column(*kind))],
                };
                page.element("td", class, |page| page.spans(cell));
            }
        });
    }

    fn spans(&mut self, line: &[Span]) {
        for span in line {
            match span {
                Span::Text(text) => self.html.text(text),
                Span::Strong(text) => self.html.leaf("strong", &[], text),
                Span::Code(text) => self.html.leaf("code", &[], text),
                Span::Muted(text) => self.html.leaf("span", &[("class", "muted")], text),
                Span::State(state, label) => {
                    self.badge(state.tone(), &state.sign().to_string(), label);
                }
                Span::Tone(tone, text) => {
                    let class = format!("tone {}", tone.as_str());
                    self.html.leaf("span", &[("class", &class)], text);
                }
            }
        }
    }

    /// A sign and a word: a reader who sees no colours misses nothing.
    fn badge(&mut self, tone: Tone, sign: &str, label: &str) {
        let class = format!("badge {}", tone.as_str());
        self.html.element("span", &[("class", &class)], |html| {
            html.leaf("span", &[("class", "sign"), ("aria-hidden", "true")], sign);
            html.text(label);
        });
    }
}

fn mark(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "✓",
        Tone::Busy => "▸",
        Tone::Calm => "·",
        Tone::Warn => "■",
        Tone::Bad => "!",
    }
}

fn column(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text => "text",
        ColumnKind::Wide => "wide",
        ColumnKind::Number => "num",
    }
}
