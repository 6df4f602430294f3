# The five commands, and a few longer ones.

# Everything that a change must pass, in the order in which it fails fastest.
check: fmt lint test

fmt:
    cargo fmt --all --check

lint:
    cargo clippy --workspace --all-targets -- -D warnings

# The README's test command.
test:
    cargo test --workspace

demo:
    cargo run --release -- demo

# Licences, known faults of dependencies, sources. Needs cargo-deny.
deny:
    cargo deny check

# Ours beside a bare SSH loop, as ratios in one run (about three minutes).
bench:
    cargo run --release -p fleetlift-bench

# Kills controllers of runs at every record, then at N random instants, and resumes them: every step must have run once, no
# line be lost, and the report be that of a run that nobody disturbed (one death takes one to two seconds).
torture N="300":
    FLEETLIFT_TORTURE={{N}} cargo test --test program torture -- --nocapture
