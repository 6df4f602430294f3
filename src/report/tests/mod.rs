//! The report and the display, on made-up journals.

mod counts;
mod stories;
mod story;
mod written;
