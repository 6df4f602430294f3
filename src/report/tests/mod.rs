//! The report and the display, on made-up journals.

mod counts;
mod display;
mod forms;
mod stories;
mod story;
mod surveys;
mod written;
