//! A model of what controllers and hosts say to each other, explored without a gap; and the real scripts, led through those
//! interleavings of it that matter most. `docs/decisions/0013-a-model-of-the-protocol.md` says what is modelled and what is not.

#[path = "protocol/bytes.rs"]
mod bytes;
#[path = "protocol/checks.rs"]
mod checks;
#[path = "protocol/controller.rs"]
mod controller;
#[path = "protocol/host.rs"]
mod host;
#[path = "protocol/left.rs"]
mod left;
#[path = "protocol/lock.rs"]
mod lock;
#[path = "protocol/model.rs"]
mod model;
#[path = "protocol/replay.rs"]
mod replay;
#[path = "protocol/stage.rs"]
mod stage;
#[path = "protocol/steps.rs"]
mod steps;
