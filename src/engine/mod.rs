//! Executes a plan: the dispatcher's loop, a lane for each host in flight, attempts.

mod boots;
mod compare;
mod controller;
mod dark;
mod drive;
mod even;
mod farewell;
mod hand_over;
mod heard;
mod lane;
mod late;
mod local;
mod lock;
mod looks;
mod opening;
mod output;
mod paced;
mod prometheus;
mod read_only;
mod reboot;
mod secrets;
mod survey;
mod transfer;
mod watching;
mod work;

pub use controller::{Controller, LocalScript, Page, ThisMachine};
pub use drive::{Control, Engine, EngineError, Observer, Outcome};
pub use lane::Shared;
pub use opening::{Driver, can_commit, can_roll_back, not_left, opening, reopening};
pub use secrets::{SecretError, Secrets};
pub use survey::survey;
