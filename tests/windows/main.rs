//! Maintenance windows, forecasts, calendars.

mod course;
mod decisions;
mod fleet;
mod wall;
