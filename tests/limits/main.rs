//! Limits mean what they say: random rollouts by the real `decide`, `judge` and fold, before an oracle that shares no code
//! with them and knows only the rollout as it was drawn, and the records.

mod budgets;
mod chance;
mod oracle;
mod runs;
mod spec;
mod world;
