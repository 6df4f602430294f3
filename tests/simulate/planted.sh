#!/bin/sh
# Plants each bug of tests/simulate/planted/ in a scratch tree of the last commit, and demands that the simulator finds it.
# Usage: planted.sh [seeds at most] [name of a bug …]
set -eu
seeds=${1:-2000}
[ $# -gt 0 ] && shift
root=$(git rev-parse --show-toplevel)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/fleetlift-planted.XXXXXX")
tree=$scratch/tree
clean() {
  git -C "$root" worktree remove --force "$tree" 2>/dev/null || :
  rm -rf -- "$scratch"
}
trap clean EXIT
trap 'exit 1' INT TERM HUP
git -C "$root" worktree add --quiet --detach "$tree" HEAD
# Never the tree's own: cargo does not tell two trees of one package apart, and would take a planted bug for the original.
export CARGO_TARGET_DIR="$root/target/planted"
export RUST_BACKTRACE=0
cd "$tree"

# $1: test, $2: seeds. Says after how many seeds it fails; nothing where it does not.
failing_after() {
  FLEETLIFT_SIMULATE=$2 cargo test --quiet --test simulate "$1" 2>&1 |
    sed -n 's/^seed [0-9]* fails after \([0-9]*\) seeds.*/\1/p' | head -n 1
}

missed=0
printf '| bug | found by | seeds |\n|---|---|---|\n'
for patch in tests/simulate/planted/*.patch; do
  bug=$(basename "$patch" .patch)
  if [ $# -gt 0 ] && ! printf '%s\n' "$@" | grep -qx -- "$bug"; then
    continue
  fi
  patch --quiet -p0 <"$patch"
  cargo test --quiet --test simulate --no-run 2>"$scratch/build" || {
    cat "$scratch/build"
    echo "$bug: does not build"
    exit 1
  }
  found='every seed'
  after=$(failing_after every_seed "$seeds")
  if [ -z "$after" ]; then
    found='waves that go back'
    after=$(failing_after waves_go_back 400)
  fi
  if [ -z "$after" ]; then
    found='crash at every record'
    after=$(failing_after wherever 40)
  fi
  if [ -z "$after" ]; then
    found='nobody'
    missed=$((missed + 1))
  fi
  printf '| %s | %s | %s |\n' "$(head -n 1 "$patch")" "$found" "${after:--}"
  git checkout --quiet -- src
done
if [ "$missed" -gt 0 ]; then
  echo "$missed planted bugs were not found" >&2
  exit 1
fi
