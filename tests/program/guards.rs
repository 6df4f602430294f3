//! Guards and backups: what keeps a step from running, and says so.

use crate::{bed::Bed, desk::end_of, need_bed};

const PLAYBOOK: &str = r#"
name = "Guards"

[[backup]]
name = "copy"
run = "echo copied >/copy"
verify = "test ! -e /copy-is-bad"

[[precheck]]
name = "room"
run = "echo asked >/asked; cat /room 2>/dev/null || echo 500"
expect = "stdout | int >= 200"
remedy = "Remove old kernels."

[[migrate]]
name = "convert"
unless = "test -e /converted"
run = "echo x >>/count; echo yes >/converted"

[[verify]]
name = "converted"
run = "test -e /converted"
"#;

#[test]
fn a_guard_that_passes_skips_its_step_and_a_bad_backup_ends_the_host_untouched() {
    need_bed!("a_guard_that_passes_skips_its_step_and_a_bad_backup_ends_the_host_untouched");
    let bed = Bed::plain(&["web-01", "web-02", "web-03", "web-04"]);
    std::fs::write(bed.file("web-02", "/converted"), "before\n").unwrap();
    std::fs::write(bed.file("web-03", "/copy-is-bad"), "").unwrap();
    std::fs::write(bed.file("web-04", "/room"), "40 MB left\n").unwrap();
    let desk = bed.desk("", PLAYBOOK);
    let said = desk.run().exits(1);
    let status = desk.status();
    assert_eq!(end_of(&status, "web-01"), ("migrated", true, ""));
    assert_eq!(end_of(&status, "web-02"), ("migrated", false, ""));
    assert_eq!(end_of(&status, "web-03"), ("failed", false, "unverified"));
    assert_eq!(end_of(&status, "web-04"), ("blocked", false, "unverified"));
    assert_eq!(bed.read("web-01", "/count"), "x\n");

    // The guard: nothing ran, and both texts say why.
    assert_eq!(
        (bed.read("web-02", "/count"), bed.read("web-02", "/converted")),
        ("".into(), "before\n".into())
    );
    let why = desk.say(&["why", "last", "web-02"]).exits(0).out;
    assert!(why.contains("convert") && why.contains("test -e /converted"), "{why}");
    let report = desk.say(&["report", "last", "--format", "md"]).exits(0).out;
    assert!(report.contains("test -e /converted"), "{report}");

    // The backup: nothing after it ran on that host, neither checks nor changes.
    assert_eq!(bed.read("web-03", "/copy"), "copied\n");
    assert_eq!(
        (bed.read("web-03", "/asked"), bed.read("web-03", "/converted")),
        ("".into(), "".into())
    );
    let why = desk.say(&["why", "last", "web-03"]).exits(0).out;
    assert!(
        why.contains("verify not met") && why.contains("nothing on the host was changed"),
        "{why}"
    );

    // The blocker: its remedy is told, and nothing was changed.
    assert_eq!(bed.read("web-04", "/converted"), "");
    assert!(said.err.contains("Remove old kernels."), "{}", said.err);
}
