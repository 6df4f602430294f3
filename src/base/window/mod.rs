//! Maintenance windows: when hosts may be worked on, in the wall time of a named zone.
//!
//! One rule says it all: a window is open exactly while a clock on the wall of its zone shows a time in it. A time that
//! a night leaves out opens nothing, and a time that a night has twice opens twice.

mod list;
mod parts;
mod wall;

pub use list::{NoWindow, Opening, Windows, wall_in};
pub use parts::{Clock, Day, Days, Part, Zone, end_of_day, parse_moment};
pub use wall::{Recurring, When, Window};
