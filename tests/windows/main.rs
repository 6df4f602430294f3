//! Maintenance windows, forecasts, calendars.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

mod course;
mod decisions;
mod fleet;
mod wall;
