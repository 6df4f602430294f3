//! Tests that lack something on this machine.

/// What a test needs is missing here: says so. Where everything was installed, it is a failure.
pub fn skip(why: &str) {
    let on_ci = std::env::var_os("FLEETLIFT_CI").is_some_and(|v| v == "1");
    assert!(!on_ci, "{why}");
    eprintln!("SKIPPED: {why}");
}
