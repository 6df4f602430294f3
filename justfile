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

# Kills the controller of N runs at different records and resumes them: every step must have run once (about 4 s a run).
torture N="100":
    FLEETLIFT_TORTURE={{N}} cargo test --test program torture -- --nocapture

# Cuts connections without a word at N places of a run (about 3 s each).
cuts N="40":
    FLEETLIFT_CUTS={{N}} cargo test --test program goes_silent -- --nocapture

# Stops a controller for so many seconds and lets it go on.
stopped SECONDS="60":
    FLEETLIFT_STOPPED={{SECONDS}} cargo test --test program was_stopped_for_a_while -- --nocapture
