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

# Simulates N runs from N seeds: crashes, partitions, reboots, rollbacks. Only our own code is built anew, optimised.
simulate N="10000":
    CARGO_PROFILE_DEV_OPT_LEVEL=1 FLEETLIFT_SIMULATE={{N}} cargo test --test simulate every_seed -- --nocapture

# Plants known bugs, one after another, and demands that the simulator finds each within N seeds.
planted N="2000":
    tests/simulate/planted.sh {{N}}

# Cuts connections without a word at N places of a run (about 3 s each).
cuts N="40":
    FLEETLIFT_CUTS={{N}} cargo test --test program goes_silent -- --nocapture

# Stops a controller for so many seconds and lets it go on.
stopped SECONDS="60":
    FLEETLIFT_STOPPED={{SECONDS}} cargo test --test program was_stopped_for_a_while -- --nocapture

# Real Debian hosts on this machine, as root: `just testbed` lists what it can do, `just testbed up 15` brings them up.
testbed *ARGS:
    testbed/real/testbed {{ARGS}}

# Upgrades real hosts from Debian 12 to 13, as root: `four` (a fault, a dead controller), `fifteen` (no fault), `faults` (fifteen
# with ten faults and two dead controllers). Beside them `el_host`, CentOS 7 to Rocky Linux 9, and `penalties` of a real sshd.
real WHAT="four":
    cargo test --test real -- --ignored --nocapture {{WHAT}}

# One virtual machine, emulated where it must be: from Debian 12 to 13 with its kernel, and back by its snapshots: `lvm` (an
# hour), `thin`, `btrfs`, `libvirt` (half of it).
machine WHAT="lvm":
    cargo test --test real -- --ignored --nocapture machine::{{WHAT}}
