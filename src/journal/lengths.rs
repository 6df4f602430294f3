//! What a run's journal knows of how long things take, without reading all of it.

use super::{
    Event, Record, StepId, line,
    store::{Reader, StoreError},
};
use rusqlite::OptionalExtension;

impl Reader {
    /// How long the latest attempts took that passed, with their steps: at most so many, in milliseconds.
    pub fn lengths(&self, most: usize) -> Result<Vec<(StepId, u64)>, StoreError> {
        // A first sieve in the database: reading a record costs more than finding a word in it.
        let query = "select json from records where instr(json, '\"event\":\"attempt_passed\"') > 0
                     order by seq desc limit ?1";
        let mut statement = self.database.prepare_cached(query).map_err(|e| self.fail(e))?;
        let mut rows = statement.query([most]).map_err(|e| self.fail(e))?;
        let mut lengths = Vec::new();
        while let Some(row) = rows.next().map_err(|e| self.fail(e))? {
            let json: String = row.get(0).map_err(|e| self.fail(e))?;
            if let Ok(Record { event: Event::AttemptPassed { step, duration_ms, .. }, .. }) =
                line::read(&json)
            {
                lengths.push((step, duration_ms));
            }
        }
        Ok(lengths)
    }

    /// The record that a run begins with.
    pub fn first(&self) -> Result<Option<Record>, StoreError> {
        let json: Option<String> = self
            .database
            .query_row("select json from records where seq = 0", [], |row| row.get(0))
            .optional()
            .map_err(|e| self.fail(e))?;
        Ok(json.and_then(|json| line::read(&json).ok()))
    }
}
