//! Executes a plan: the dispatcher's loop, a lane for each host in flight, attempts.

mod compare;
mod dark;
mod drive;
mod even;
mod hand_over;
mod lane;
mod late;
mod local;
mod looks;
mod output;
mod paced;
mod reboot;
mod secrets;
mod transfer;
mod work;

pub use drive::{Control, Engine, EngineError, Observer, Outcome};
pub use lane::Shared;
pub use secrets::{SecretError, Secrets};
