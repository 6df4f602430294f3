# shellcheck shell=bash
# The archive that hosts see: one process of ours, that fetches each file once from where this machine's apt fetches.

# NAME=URL for the two archives, by what apt of this machine is configured for; nothing where it knows none of Debian's.
archive_sources() {
    local main=${TESTBED_ARCHIVE-} security=${TESTBED_SECURITY-} targets=
    # shellcheck disable=SC2016 # apt's own variables
    [ -n "$main" ] && [ -n "$security" ] || targets=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 2> /dev/null)
    : "${main:=$(awk -F'|' '$1 == "Debian" && $2 == "Debian" { print $3; exit }' <<< "$targets")}"
    : "${security:=$(awk -F'|' '$1 == "Debian" && $2 == "Debian-Security" { print $3; exit }' <<< "$targets")}"
    if [ -n "$main" ] && [ -n "$security" ]; then echo "debian=$main debian-security=$security"; fi
}

archive_url() { echo "http://$GATEWAY:$ARCHIVE_PORT/$1"; }

ARCHIVE=${CARGO_TARGET_DIR:-$ROOT/target}/debug/fleetlift-archive

# The whole workspace's choice of features: what its tests have built is not built again with others.
archive_build() {
    if [ -x "$ARCHIVE" ] && [ -z "$(find "$ROOT/testbed/src" "$ROOT/testbed/Cargo.toml" -newer "$ARCHIVE" -print -quit)" ]; then return; fi
    say "building the archive's program"
    (cd "$ROOT" && cargo build --quiet --workspace --bin fleetlift-archive)
}

archive_up() {
    alive "$DIR/archive.pid" && return
    local arguments=() source
    for source in $SOURCES; do arguments+=(--source "$source"); done
    archive_build
    mkdir -p "$CACHE/archive"
    : > "$DIR/archive.log"
    setsid "$ARCHIVE" --store "$CACHE/archive" --faults "$DIR/faults" "${arguments[@]}" \
        --listen "$GATEWAY:$ARCHIVE_PORT" --network "/run/netns/$NAME" \
        >> "$DIR/archive.log" 2>&1 < /dev/null &
    echo $! > "$DIR/archive.pid"
    within 10 grep -q '^listens on' "$DIR/archive.log" || fail "the archive does not start" "$(tail -n 3 "$DIR/archive.log")"
}

archive_down() {
    if alive "$DIR/archive.pid"; then kill "$(cat "$DIR/archive.pid")"; fi
    rm -f "$DIR/archive.pid"
}

archive_command() {
    network_needed
    local for_whom=
    case ${1-} in
        freeze)
            touch "$CACHE/archive/frozen"
            say "the archive is frozen for every testbed with $CACHE, until testbed archive thaw"
            ;;
        thaw) rm -f "$CACHE/archive/frozen" ;;
        fault)
            case ${2-} in
                none) rm -f "$DIR/faults" ;;
                refuse | cut | corrupt | hang)
                    [ -n "${3-}" ] || fail "which addresses?" "" "testbed archive fault $2 pool/main/n/nginx"
                    if [ -n "${4-}" ]; then
                        for_whom=$(host_named "$4")
                        for_whom=" $(address_of "$for_whom")"
                    fi
                    echo "$2 $3$for_whom" >> "$DIR/faults"
                    ;;
                *) fail "'${2-}' is no fault of the archive" "" "refuse, cut, corrupt, hang, or none" ;;
            esac
            ;;
        *) fail "'${1-}' is nothing that the archive does" "" "freeze, thaw, or fault" ;;
    esac
}
