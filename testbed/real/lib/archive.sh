# shellcheck shell=bash
# The archive that hosts see: one process of ours, that fetches each file once from where this machine's apt fetches.

# apt_source LABEL: where apt of this machine finds the archive that calls itself so.
apt_source() {
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 2> /dev/null | awk -F'|' -v label="$1" '$1 == "Debian" && $2 == label { print $3; exit }'
}

# NAME=URL for the two archives, by what apt of this machine is configured for; nothing where it knows none of Debian's.
archive_sources() {
    local main=${TESTBED_ARCHIVE-} security=${TESTBED_SECURITY-}
    : "${main:=$(apt_source Debian)}"
    : "${security:=$(apt_source Debian-Security)}"
    if [ -n "$main" ] && [ -n "$security" ]; then echo "debian=$main debian-security=$security"; fi
}

archive_url() { echo "http://$GATEWAY:$ARCHIVE_PORT/$1"; }

archive_up() {
    alive "$DIR/archive.pid" && return
    local sources arguments=() source
    sources=$(archive_sources)
    for source in $sources; do arguments+=(--source "$source"); done
    say "building the archive's program"
    (cd "$ROOT" && cargo build --quiet -p fleetlift-testbed --bin fleetlift-archive)
    mkdir -p "$CACHE/archive"
    : > "$DIR/archive.log"
    setsid "${CARGO_TARGET_DIR:-$ROOT/target}/debug/fleetlift-archive" --store "$CACHE/archive" --faults "$DIR/faults" "${arguments[@]}" \
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
    case ${1-} in
        freeze) touch "$CACHE/archive/frozen" ;;
        thaw) rm -f "$CACHE/archive/frozen" ;;
        fault)
            case ${2-} in
                none) rm -f "$DIR/faults" ;;
                refuse | cut | corrupt | hang)
                    [ -n "${3-}" ] || fail "which addresses?" "" "testbed archive fault $2 pool/main/n/nginx"
                    echo "$2 $3${4:+ $(address_of "$(host_named "$4")")}" >> "$DIR/faults"
                    ;;
                *) fail "'${2-}' is no fault of the archive" "" "refuse, cut, corrupt, hang, or none" ;;
            esac
            ;;
        *) fail "'${1-}' is nothing that the archive does" "" "freeze, thaw, or fault" ;;
    esac
}
