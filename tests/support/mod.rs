//! What tests of plans and runs share.

pub mod plans;
pub mod tape;
