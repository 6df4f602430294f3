//! Limits mean what they say: random rollouts by the real `decide`, `judge` and fold, before an oracle that shares no code
//! with them and knows only the rollout as it was drawn, and the records.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

mod budgets;
mod chance;
mod oracle;
mod runs;
mod spec;
mod world;
