//! Who approved what.

use super::Content;
use crate::report::document::{Block, Section, Table, code, text};

impl Content<'_> {
    pub(super) fn approvals(&self) -> Option<Section> {
        if self.report.approvals.is_empty() {
            return None;
        }
        let mut table = Table::new(vec![
            self.column("gate"),
            self.column("decision"),
            self.column("principal"),
            self.wide("reason"),
            self.column("issued"),
            self.column("good_until"),
            self.wide("key"),
            self.column("handed_in"),
        ]);
        for said in &self.report.approvals {
            let decision = self.words.get(match said.decision {
                crate::base::approval::Decision::Approve => "value.approve",
                crate::base::approval::Decision::Reject => "value.reject",
            });
            table.push(vec![
                text(said.wave.clone()),
                text(decision.to_owned()),
                text(said.principal.clone()),
                text(said.reason.clone()),
                self.time(Some(said.issued)),
                self.time(said.expires),
                match &said.key {
                    Some(key) => code(key.clone()),
                    None => text(self.words.get("value.unsigned").to_owned()),
                },
                text(said.by.clone()),
            ]);
        }
        Some(Section {
            id: "approvals",
            title: self.title("approvals"),
            blocks: vec![
                Block::Table(table),
                Block::Note(self.words.get("note.approvals").to_owned()),
            ],
        })
    }
}
