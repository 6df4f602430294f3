//! Gates: what people have said about a wave, and whether its hosts may start.

use crate::{
    base::{
        approval::{Approval, Decision, Known, Lack, Rule, SKEW, Unfit},
        name::{Principal, WaveName},
        time::Timestamp,
    },
    plan::Plan,
};
use std::collections::BTreeMap;

/// The last word of one person about a wave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub decision: Decision,
    pub issued: Timestamp,
    /// Until when it counts. A rejection stands until the same person approves.
    pub until: Option<Timestamp>,
    pub reason: String,
    /// `SHA256:…` of the key that signed it.
    pub key: Option<String>,
}

/// The gate of a wave, as far as people have spoken about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateState {
    /// By person: what was said last, and not what was handed in last.
    pub words: BTreeMap<Principal, Word>,
}

impl GateState {
    /// Takes in a word that fits the gate. An old one that is handed in again changes nothing: nobody undoes a rejection
    /// with an approval that was given before it.
    pub(super) fn take(&mut self, approval: &Approval, known: Known) {
        let said = &approval.statement;
        let word = Word {
            decision: said.decision,
            issued: said.issued,
            until: known.until,
            reason: said.reason.clone(),
            key: known.key,
        };
        match self.words.get(&said.principal) {
            Some(last) if rank(last) >= rank(&word) => {}
            Some(_) | None => drop(self.words.insert(said.principal.clone(), word)),
        }
    }

    /// What the gate lacks at this time of the wall; nothing where it is open.
    pub fn lack(&self, rule: &Rule, now: Timestamp) -> Option<Lack> {
        let (mut of, mut rejected_by, mut expired) = (Vec::new(), Vec::new(), Vec::new());
        for principal in &rule.of {
            match self.words.get(principal) {
                Some(word) if word.decision == Decision::Reject => {
                    rejected_by.push(principal.clone());
                }
                Some(word) if word.counts(now) => continue,
                Some(_) => expired.push(principal.clone()),
                None => {}
            }
            of.push(principal.clone());
        }
        let given = rule.of.len() - of.len();
        let wanted = rule.quorum.saturating_sub(given);
        let open = wanted == 0 && rejected_by.is_empty();
        (!open).then_some(Lack { wanted, of, rejected_by, expired })
    }
}

impl Word {
    /// Whether it is an approval that counts now.
    pub fn counts(&self, now: Timestamp) -> bool {
        let begun = self.issued <= now + SKEW;
        self.decision == Decision::Approve && begun && self.until.is_some_and(|until| now < until)
    }
}

/// The later word counts; of two of one instant the careful one.
fn rank(word: &Word) -> (Timestamp, Decision) {
    (word.issued, word.decision)
}

/// Until when a recorded approval counts: no longer than the key that signed it.
pub fn good_until(plan: &Plan, approval: &Approval) -> Option<Timestamp> {
    let said = &approval.statement;
    let (_, rule) = rule(plan, &said.wave).ok()?;
    rule.check(approval, &said.plan, &said.wave).ok()?.until
}

/// The rule of a wave's gate.
pub(super) fn rule<'p>(plan: &'p Plan, wave: &WaveName) -> Result<(usize, &'p Rule), Unfit> {
    let number = plan.waves.iter().position(|planned| planned.name == *wave);
    let found = number.and_then(|n| Some((n, plan.waves[n].approval.as_ref()?)));
    found.ok_or_else(|| Unfit::NoGate { wave: wave.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::approval::{EXPIRES, Statement};
    use proptest::prelude::*;
    use std::{collections::BTreeSet, time::Duration};

    const PEOPLE: [&str; 4] = ["cto", "dba", "ops", "stranger"];

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * 60_000)
    }

    fn rule(quorum: usize) -> Rule {
        let of = PEOPLE[..3].iter().map(|name| name.parse().unwrap()).collect();
        Rule { of, quorum, expires: EXPIRES, signers: None }
    }

    #[derive(Clone, Debug)]
    struct Said {
        who: usize,
        approves: bool,
        issued: i64,
        minutes: i64,
        right_plan: bool,
        right_wave: bool,
    }

    fn approval(said: &Said) -> Approval {
        let name = |right: bool, name: &str| if right { name.to_owned() } else { "x".to_owned() };
        let decision = if said.approves { Decision::Approve } else { Decision::Reject };
        let statement = Statement {
            plan: name(said.right_plan, "sha256:1"),
            run: None,
            wave: name(said.right_wave, "db").parse().unwrap(),
            decision,
            principal: PEOPLE[said.who].parse().unwrap(),
            issued: at(said.issued),
            expires: said.approves.then(|| at(said.issued + said.minutes)),
            reason: "because".to_owned(),
        };
        Approval { statement, signature: None }
    }

    fn said() -> impl Strategy<Value = Said> {
        let right = || prop::bool::weighted(0.9);
        (0..4usize, prop::bool::weighted(0.8), 0..100i64, 1..200i64, right(), right()).prop_map(
            |(who, approves, issued, minutes, right_plan, right_wave)| Said {
                who,
                approves,
                issued,
                minutes,
                right_plan,
                right_wave,
            },
        )
    }

    proptest! {
        /// A gate is open exactly where so many different people who may have approved it as their last word, of this plan
        /// and this wave, for a time that is not over, and none of them has rejected it: in whatever order it came in.
        #[test]
        fn a_gate_opens_with_a_quorum_of_different_people(
            all in prop::collection::vec(said(), 0..12),
            quorum in 1..=3usize,
            now in 0..200i64,
        ) {
            let rule = rule(quorum);
            let wave: WaveName = "db".parse().unwrap();
            let mut gate = GateState::default();
            for said in &all {
                let approval = approval(said);
                if let Ok(known) = rule.check(&approval, "sha256:1", &wave) {
                    gate.take(&approval, known);
                }
            }
            let lack = gate.lack(&rule, at(now));

            // Told again without the code above.
            let mut counting = BTreeSet::new();
            let mut rejected = false;
            for who in 0..3 {
                let own = |s: &&Said| s.who == who && s.right_plan && s.right_wave;
                // Of two of one instant a rejection counts; of two approvals the one that came first.
                let latest = all.iter().filter(own).map(|s| s.issued).max();
                let words: Vec<&Said> =
                    all.iter().filter(own).filter(|s| Some(s.issued) == latest).collect();
                if words.iter().any(|s| !s.approves) {
                    rejected = true;
                } else if let Some(first) = words.first()
                    && first.issued <= now + 5
                    && now < first.issued + first.minutes
                {
                    counting.insert(who);
                }
            }
            prop_assert_eq!(lack.is_none(), counting.len() >= quorum && !rejected, "{:?}", lack);
            if let Some(lack) = lack {
                prop_assert_eq!(lack.wanted, quorum.saturating_sub(counting.len()));
                prop_assert_eq!(lack.of.len(), 3 - counting.len());
            }
        }
    }

    #[test]
    fn an_approval_is_good_no_longer_than_it_says() {
        let rule = rule(1);
        let wave: WaveName = "db".parse().unwrap();
        let mut said = Said {
            who: 0,
            approves: true,
            issued: 10,
            minutes: 60,
            right_plan: true,
            right_wave: true,
        };
        let mut gate = GateState::default();
        let known = rule.check(&approval(&said), "sha256:1", &wave).unwrap();
        gate.take(&approval(&said), known);
        let open = |gate: &GateState, now: Timestamp| gate.lack(&rule, now).is_none();
        assert!(open(&gate, at(10)) && open(&gate, at(69)));
        assert!(!open(&gate, at(70)), "to the instant");
        assert_eq!(gate.lack(&rule, at(70)).unwrap().expired.len(), 1);
        assert!(open(&gate, at(5)), "whose clock is fast by five minutes");
        assert!(!open(&gate, Timestamp::from_millis(at(5).as_millis() - 1)));
        said.minutes = EXPIRES.as_secs() as i64 / 60 + 1;
        let error = rule.check(&approval(&said), "sha256:1", &wave).unwrap_err();
        assert!(matches!(error, Unfit::TooLong { .. }), "{error}");
        assert_eq!(SKEW, Duration::from_secs(300));
    }
}
