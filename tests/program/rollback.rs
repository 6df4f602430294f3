//! `rollback`: the way back by hand.

use crate::{
    bed::Bed,
    desk::end_of,
    need_bed,
    plain::{IS_NEXT, NEXT_RELEASE, back, to_next},
};

const STEPS: &str = r#"
[[precheck]]
name = "allowed"
run = "test ! -e /not-this-one"

[[migrate]]
name = "boot"
reboot = { timeout = "90s" }
"#;

#[test]
fn migrated_hosts_are_brought_back_and_proven_so() {
    need_bed!("migrated_hosts_are_brought_back_and_proven_so");
    let bed = Bed::plain(&["web-01", "web-02", "web-03"]);
    for host in ["web-01", "web-02"] {
        std::fs::write(bed.file(host, "/etc/testbed/dark_ms"), "200\n").unwrap();
    }
    std::fs::write(bed.file("web-03", "/not-this-one"), "").unwrap();
    let playbook = to_next("Plain to next", &[NEXT_RELEASE, STEPS, IS_NEXT, &back("")]);
    let desk = bed.desk("", &playbook);
    desk.run().exits(1);
    let system = |host: &str| bed.read(host, "/etc/os-release");
    assert!(system("web-01").contains("ID=next") && system("web-02").contains("ID=next"));

    // What was never touched has no way back; neither is a host that nobody knows.
    let said = desk.say(&["rollback", "last", "--hosts", "web-03", "--yes"]).exits(4);
    assert!(said.err.contains("web-03"), "{}", said.err);
    let said = desk.say(&["rollback", "last", "--hosts", "web-01,web-03", "--yes"]).exits(4);
    assert!(said.err.contains("web-03") && !said.err.contains("web-01"), "{}", said.err);
    let said = desk.say(&["rollback", "last", "--hosts", "web-09", "--yes"]).exits(2);
    assert!(said.err.contains("web-09"), "{}", said.err);
    let said = desk.say(&["rollback", "last", "--hosts", "web-01"]).exits(2);
    assert!(said.err.contains("--yes"), "{}", said.err);
    assert_eq!(end_of(&desk.status(), "web-01"), ("migrated", true, ""));

    // One by name.
    desk.say(&["rollback", "last", "--hosts", "web-01", "--yes"]).exits(0);
    let status = desk.status();
    assert_eq!(end_of(&status, "web-01"), ("rolled_back", true, ""));
    assert_eq!(end_of(&status, "web-02"), ("migrated", true, ""));
    assert!(system("web-01").contains("ID=plain") && system("web-02").contains("ID=next"));
    let proof = desk.journal().into_iter().any(|r| {
        r["event"] == "host_facts"
            && r["host"] == "web-01"
            && r["moment"] == "rolled_back"
            && r["facts"]["system"]["id"] == "plain"
    });
    assert!(proof, "the old system is proven by a look at it");

    // The rest by their state.
    desk.say(&["rollback", "last", "--hosts", "state=migrated", "--yes"]).exits(0);
    assert_eq!(end_of(&desk.status(), "web-02"), ("rolled_back", true, ""));
    assert!(system("web-02").contains("ID=plain"));
    let said = desk.say(&["rollback", "last", "--hosts", "state=migrated", "--yes"]).exits(2);
    assert!(said.err.contains("state=migrated"), "{}", said.err);
    desk.say(&["journal", "last", "--verify"]).exits(0);
}
