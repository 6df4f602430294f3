//! Who may open a gate, and whether a statement is of one of them.

use super::{Approval, Decision, Statement, StatementError, check_reason};
use crate::base::{
    name::{Principal, RunId, WaveName},
    time::{Timestamp, format_length},
};
use russh::keys::ssh_key::{Error, HashAlg, PublicKey, SshSig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// What a signature is for: one that was made for another purpose opens nothing.
pub const NAMESPACE: &str = "fleetlift-approval";
/// How long an approval is good, where the rollout does not say.
pub const EXPIRES: Duration = Duration::from_secs(7 * 86_400);
/// Clocks of those who sign may be fast by so much.
pub const SKEW: Duration = Duration::from_secs(300);

/// Who may open the gate of a wave, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub of: Vec<Principal>,
    /// So many different ones of them open it.
    pub quorum: usize,
    /// How long an approval is good at most.
    #[serde(with = "crate::base::time::millis")]
    pub expires: Duration,
    /// Keys that sign. Absent where approvals are not signed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signers: Option<Vec<Signer>>,
}

/// A key, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    pub principal: Principal,
    /// As in a file `….pub`, without its comment.
    pub key: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub revoked: bool,
}

/// What is known of a statement that fits its gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// `SHA256:…` of the key that signed it.
    pub key: Option<String>,
    /// Until when it counts: an approval is good no longer than its key.
    pub until: Option<Timestamp>,
}

/// Why a statement does not count for a gate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("wave {wave} needs no approval")]
    NoGate { wave: WaveName },
    #[error("it is about another plan: {said}, and this one is {is}")]
    OtherPlan { said: String, is: String },
    #[error("it is about run {said}, and this is run {is}")]
    OtherRun { said: RunId, is: RunId },
    #[error("it is about one run, {said}, and not about the plan")]
    OneRun { said: RunId },
    #[error("it is about wave {said}, and not about wave {is}")]
    OtherWave { said: WaveName, is: WaveName },
    #[error("{principal} is not one of those who may: {of}")]
    NotAsked { principal: Principal, of: String },
    #[error(transparent)]
    Reason(#[from] StatementError),
    #[error("an approval says until when it is good")]
    Endless,
    #[error("it would be good for {said}, and this gate takes {most} at most")]
    TooLong { said: String, most: String },
    #[error("it has expired: it was good until {at}")]
    Expired { at: Timestamp },
    #[error("it is issued at {at}, which is still to come")]
    Early { at: Timestamp },
    #[error(
        "{principal} has said something later, at {at}: a word does not return by being handed in again"
    )]
    Superseded { principal: Principal, at: Timestamp },
    #[error("this gate takes signed approvals only")]
    Unsigned,
    #[error("this gate takes no signatures: nobody says whose keys they are")]
    NoSigners,
    #[error("the signature cannot be read: {why}")]
    Unreadable { why: String },
    #[error("the signature was made for `{said}`, and not for `{NAMESPACE}`")]
    OtherPurpose { said: String },
    #[error("the key {key} is not that of {principal}: it is not among the allowed signers")]
    UnknownKey { key: String, principal: Principal },
    #[error("the key {key} is that of {owner}, and not that of {principal}")]
    OtherKey { key: String, owner: Principal, principal: Principal },
    #[error("the key {key} of {principal} is revoked")]
    Revoked { key: String, principal: Principal },
    #[error("the key {key} of {principal} was not valid at {at}")]
    KeyOutOfTime { key: String, principal: Principal, at: Timestamp },
    #[error(
        "the signature is not of this text: one of them was changed, or they do not belong together"
    )]
    Forged,
}

impl Rule {
    /// Checks all that time cannot change: this is what a journal is checked by, years later too.
    pub fn check(&self, approval: &Approval, plan: &str, wave: &WaveName) -> Result<Known, Unfit> {
        let said = &approval.statement;
        if said.plan != plan {
            return Err(Unfit::OtherPlan { said: said.plan.clone(), is: plan.to_owned() });
        }
        if said.wave != *wave {
            return Err(Unfit::OtherWave { said: said.wave.clone(), is: wave.clone() });
        }
        if !self.of.contains(&said.principal) {
            return Err(Unfit::NotAsked { principal: said.principal.clone(), of: self.names() });
        }
        check_reason(&said.reason)?;
        match (said.decision, said.expires) {
            (Decision::Approve, None) => return Err(Unfit::Endless),
            (Decision::Approve, Some(until)) if until.since(said.issued) > self.expires => {
                let length = format_length(until.since(said.issued));
                return Err(Unfit::TooLong { said: length, most: format_length(self.expires) });
            }
            (Decision::Approve | Decision::Reject, _) => {}
        }
        match (&self.signers, &approval.signature) {
            (None, None) => Ok(Known { key: None, until: said.expires }),
            (None, Some(_)) => Err(Unfit::NoSigners),
            (Some(_), None) => Err(Unfit::Unsigned),
            (Some(signers), Some(signature)) => verify(signers, said, signature),
        }
    }

    /// Whose word it would be that this key signs: those of the gate's people that have it.
    pub fn owners(&self, key: &PublicKey) -> Vec<&Principal> {
        let signers = self.signers.iter().flatten();
        let own = signers.filter(|signer| is_key(signer, key)).map(|signer| &signer.principal);
        let mut owners: Vec<&Principal> = own.collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// `cto, tech-director`.
    pub fn names(&self) -> String {
        names(&self.of)
    }
}

impl Approval {
    /// `SHA256:…` of the key that its signature names. Whether it is right is another question.
    pub fn key(&self) -> Option<String> {
        let found = SshSig::from_pem(self.signature.as_ref()?.trim()).ok()?;
        Some(PublicKey::from(found.public_key().clone()).fingerprint(HashAlg::Sha256).to_string())
    }
}

impl Statement {
    /// Whether it counts now, by the clock on the wall.
    pub fn check_time(&self, now: Timestamp) -> Result<(), Unfit> {
        if self.issued > now + SKEW {
            return Err(Unfit::Early { at: self.issued });
        }
        match self.expires {
            Some(at) if at <= now => Err(Unfit::Expired { at }),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether it counts for this run.
    pub fn check_run(&self, run: &RunId) -> Result<(), Unfit> {
        match &self.run {
            Some(said) if said != run => {
                Err(Unfit::OtherRun { said: said.clone(), is: run.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn is_key(signer: &Signer, key: &PublicKey) -> bool {
    PublicKey::from_openssh(&signer.key).is_ok_and(|own| own.key_data() == key.key_data())
}

fn verify(signers: &[Signer], said: &Statement, signature: &str) -> Result<Known, Unfit> {
    let unreadable = |error: Error| Unfit::Unreadable { why: error.to_string() };
    let found = SshSig::from_pem(signature.trim()).map_err(unreadable)?;
    let public = PublicKey::from(found.public_key().clone());
    let key = public.fingerprint(HashAlg::Sha256).to_string();
    let principal = said.principal.clone();
    if found.namespace() != NAMESPACE {
        return Err(Unfit::OtherPurpose { said: found.namespace().to_owned() });
    }
    let with_key = || signers.iter().filter(|signer| is_key(signer, &public));
    let own: Vec<&Signer> = with_key().filter(|signer| signer.principal == principal).collect();
    if own.is_empty() {
        return Err(match with_key().next() {
            Some(signer) => Unfit::OtherKey { key, owner: signer.principal.clone(), principal },
            None => Unfit::UnknownKey { key, principal },
        });
    }
    if own.iter().any(|signer| signer.revoked) {
        return Err(Unfit::Revoked { key, principal });
    }
    let at = said.issued;
    let valid = |signer: &&&Signer| {
        signer.after.is_none_or(|after| after <= at) && signer.before.is_none_or(|end| at < end)
    };
    let Some(signer) = own.iter().find(valid) else {
        return Err(Unfit::KeyOutOfTime { key, principal, at });
    };
    public.verify(NAMESPACE, said.text().as_bytes(), &found).map_err(|_| Unfit::Forged)?;
    let ends = [said.expires, signer.before.filter(|_| said.decision == Decision::Approve)];
    Ok(Known { key: Some(key), until: ends.into_iter().flatten().min() })
}

/// What a gate lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lack {
    /// So many more must approve.
    pub wanted: usize,
    /// Who could.
    pub of: Vec<Principal>,
    /// Who has rejected it: it stays closed until each of these approves it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub rejected_by: Vec<Principal>,
    /// Whose approval was good once.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub expired: Vec<Principal>,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rejected_by.is_empty() {
            write!(f, "rejected by {}", names(&self.rejected_by))?;
            return if self.wanted > 0 {
                write!(f, "; and it lacks {}", self.more())
            } else {
                Ok(())
            };
        }
        f.write_str(&self.more())
    }
}

impl Lack {
    /// `1 approval, of cto or tech-director`.
    fn more(&self) -> String {
        let who: Vec<&str> = self.of.iter().map(Principal::as_str).collect();
        let word = if self.wanted == 1 { "approval" } else { "approvals" };
        let all = self.wanted == self.of.len();
        let who = who.join(if all { " and " } else { " or " });
        let mut text = format!("{} {word}, of {who}", self.wanted);
        if !self.expired.is_empty() {
            text.push_str(&format!(" (expired: {})", names(&self.expired)));
        }
        text
    }
}

fn names(principals: &[Principal]) -> String {
    principals.iter().map(Principal::as_str).collect::<Vec<_>>().join(", ")
}
