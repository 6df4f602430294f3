//! Hands by chance: whatever operators say and whenever.

use super::{At, Bench, name, release};
use crate::{
    fake::{Answer, FakeFleet},
    stage::{good, lenient},
};
use fleetlift::{
    base::name::HostName,
    engine::{Control, Outcome},
    journal::{Ask, Event, Record, Verdict},
    rollout::Rollout,
};

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn some(&mut self, hosts: &[&str]) -> Vec<HostName> {
        hosts.iter().filter(|_| self.below(2) == 0).map(|host| name(host)).collect()
    }

    fn ask(&mut self, hosts: &[&str]) -> Ask {
        // Made-up hosts do not know a script again that an earlier controller began: nobody leaves here.
        match self.below(8) {
            0 => Ask::Stop,
            1..5 => Ask::Hold { hosts: self.some(hosts) },
            _ => Ask::Release { hosts: self.some(hosts) },
        }
    }
}

const HOSTS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn mixed() -> FakeFleet {
    let down = || good().rule("ask-services", Answer::Exit(1, "dead"));
    FakeFleet::with([
        ("a", good()),
        ("b", down().rule("restore", Answer::Becomes("old", "1"))),
        ("c", good().rule("ask-space", Answer::Exit(1, "40 MB left"))),
        ("d", good().rule("check-backup", Answer::Exit(1, "corrupt"))),
        ("e", good()),
    ])
}

/// Whatever operators say and whenever: every host comes to the end that it would have come to, by the same scripts.
#[test]
fn hands_change_when_things_happen_and_not_what() {
    let plain = Bench::new(mixed(), &lenient());
    assert_eq!(plain.drive(Vec::new()).0, Outcome::Finished(Verdict::Incomplete));
    let rounds = std::env::var("FLEETLIFT_HANDS").ok().and_then(|n| n.parse().ok()).unwrap_or(20);
    let mut rested = 0;
    for seed in 0..rounds {
        let mut dice = Dice(seed);
        let rollout = Rollout { parallel: 1 + dice.below(3) as u32, ..lenient() };
        let mut bench = Bench::new(mixed(), &rollout);
        let mut last = Outcome::Left;
        for controller in 0..12 {
            // What is said while nobody drives the run, and then to its controller.
            if controller > 0 && dice.below(3) == 0 {
                let hosts = dice.some(&HOSTS);
                let held = dice.below(2) == 0;
                bench.note(if held { Ask::Hold { hosts } } else { Ask::Release { hosts } });
            }
            let mut script = Vec::new();
            let from = bench.records().len() as u64;
            for _ in 0..dice.below(5) {
                let at = from + dice.below(60);
                let ask = dice.ask(&HOSTS);
                let asked = bench.ask(ask);
                script.push(At(Box::new(move |r: &Record| r.seq == at), Control::Asked(asked)));
            }
            last = bench.drive(script).0;
            if let Outcome::Finished(_) = last {
                break;
            }
        }
        if !matches!(last, Outcome::Finished(_)) {
            bench.note(release(&HOSTS));
            last = bench.drive(Vec::new()).0;
        }
        assert_eq!(last, Outcome::Finished(Verdict::Incomplete), "seed {seed}");
        for (host, (is, was)) in bench.state().hosts.iter().zip(&plain.state().hosts).enumerate() {
            assert_eq!(is.phase, was.phase, "seed {seed}: {}", HOSTS[host]);
            assert_eq!(bench.fleet.ran(HOSTS[host]), plain.fleet.ran(HOSTS[host]), "seed {seed}");
        }
        assert_eq!(bench.moved_while_it_rested(), None, "seed {seed}");
        rested +=
            bench.records().iter().filter(|r| matches!(r.event, Event::HostHeld { .. })).count();
    }
    assert!(rounds < 20 || rested > 5, "holds were met on the way: {rested}");
}
