# shellcheck shell=bash disable=SC2034
# What every part uses: places, names, and how it says what is wrong.

# Disks and what lives. In memory by default: an upgrade syncs all the time, and a disk would make it three times as long.
DIR=${TESTBED_DIR:-/dev/shm/fleetlift-testbed}
# What is worth keeping between fleets.
CACHE=${TESTBED_CACHE:-/var/cache/fleetlift-testbed}
# One word that is in every name which the machine sees, so that several testbeds can stand side by side.
NAME=${TESTBED_NAME:-fltb}

DISK=$DIR/disk
HOSTS=$DIR/hosts
FLEET=$DIR/fleet
KEY=$FLEET/key
GATEWAY=10.77.0.1
ARCHIVE_PORT=3142
FLEET_USER='admin'

say() { printf '%s\n' "$*" >&2; }

# fail MESSAGE [CAUSE] [HINT]
fail() {
    say "error: $1"
    [ -z "${2-}" ] || say "  cause: $2"
    [ -z "${3-}" ] || say "  hint: $3"
    exit 1
}

# The n-th host of a fleet of the shape 1 + 2 + 8 + 4: small fleets have something of each.
host_name() {
    local first=(mon-01 cache-01 web-01 db-01 web-02 web-03 db-02 cache-02 web-04 web-05 db-03 web-06 web-07 db-04 web-08)
    if [ "$1" -le ${#first[@]} ]; then echo "${first[$1 - 1]}"; else printf 'web-%02d\n' $(($1 - 6)); fi
}

# The name of a host that is there, by its name or number.
host_named() {
    local name=${1-}
    [ -d "$HOSTS" ] || fail "no testbed is up in $DIR" "" "testbed up"
    [ -n "$name" ] || fail "which host?" "" "a name (web-03) or a number; testbed show lists those that are there"
    case $name in
        *[!0-9]*) ;;
        *) name=$(host_name "$name") ;;
    esac
    [ -d "$HOSTS/$name" ] || fail "there is no host '$name'" "" "testbed show lists those that are there"
    echo "$name"
}

role_of() { echo "${1%%-*}"; }
address_of() { cat "$HOSTS/$1/address"; }

# Waits until a command passes, at most so many seconds.
within() {
    local seconds=$1 end
    shift
    end=$((SECONDS + seconds))
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.2
    done
}

alive() { [ -s "$1" ] && kill -0 "$(cat "$1" 2> /dev/null)" 2> /dev/null; }
