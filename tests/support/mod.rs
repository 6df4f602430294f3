//! What tests of plans and runs share.

pub mod memory;
pub mod plans;
pub mod tape;
