//! Who: the hosts of a fleet, as written by the operator and as resolved, and selections of them.
//!
//! What is said in several places holds in this order, the later over the earlier: `[vars]` and `[connection]` for all;
//! groups, parents before their children, and groups at the same depth by name; `group_vars/all.toml`; the other files of
//! `group_vars`, in the same order of groups; the host's own table; its file in `host_vars`. This is Ansible's order.
//! Variables and labels are replaced whole, one by one; so are the keys of a connection.

mod connection;
mod fleet;
mod model;
mod resolve;
mod select;
mod shape;
mod vars_files;
mod written;

pub use crate::base::selection::{Selection, SelectionError};
pub use fleet::{fleet_folder, read};
pub use model::{Connection, Group, Host, HostKeyPolicy, Inventory};
pub use shape::schema;
