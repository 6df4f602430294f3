//! Forecasts and calendars.
