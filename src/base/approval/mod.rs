//! Approvals: who may open the gate of a wave, what they say, and how it is known that they said it. Pure: who asks
//! brings the time and the texts.

mod rule;
mod signers;
mod statement;

pub use rule::{EXPIRES, Known, Lack, NAMESPACE, Rule, SKEW, Signer, Unfit};
pub use signers::{Allowed, read_revoked, read_signers};
pub use statement::{Approval, Decision, Statement, StatementError, check_reason};
