//! Who: the hosts of a fleet, as written by the operator and as resolved, and selections of them.

mod model;

pub use model::{Connection, Group, Host, HostKeyPolicy, Inventory};
mod selection_stub;
pub use selection_stub::Selection;
