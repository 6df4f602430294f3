#!/bin/sh
# Part of the stage set, not the real thing: what the pretended programs share. Sourced, never run.
# State that a reboot keeps is in $KEPT, state that it loses in $LIVE.

KEPT=/var/lib/testbed
LIVE=/run/stage
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# Whether this host was given a fault of that name.
fault() {
    [ -r /etc/testbed/faults ] || return 1
    while read -r fault_line || [ -n "$fault_line" ]; do
        for fault_word in $fault_line; do
            if [ "$fault_word" = "$1" ]; then return 0; fi
        done
    done < /etc/testbed/faults
    return 1
}

# What the host is for: monitoring, cache, web, db, or nothing in particular.
role() {
    role_name=plain
    if [ -r /etc/testbed/role ]; then read -r role_name < /etc/testbed/role || :; fi
    printf '%s\n' "$role_name"
}

# Sets ID, VERSION_ID, PRETTY_NAME and MAJOR from os-release.
# shellcheck disable=SC2034 # for those who source this
system() {
    ID='' VERSION_ID='' PRETTY_NAME=''
    # shellcheck source=/dev/null
    . /etc/os-release
    MAJOR=${VERSION_ID%%.*}
}

# A stretch of pretended work, in seconds; the host may set another pace, for tests that need it slow.
work() {
    pace=1
    if [ -r /etc/testbed/pace ]; then read -r pace < /etc/testbed/pace || :; fi
    case $pace in
        0) ;;
        1) sleep "$1" ;;
        *) sleep "$(echo "$1 $pace" | awk '{ print $1 * $2 }')" ;;
    esac
}

# The first line of a file, or nothing.
first_line() {
    first=''
    if [ -r "$1" ]; then read -r first < "$1" || :; fi
    printf '%s\n' "$first"
}

# Makes the host ready if nobody has booted it yet: a host that was never rebooted is up all the same.
if [ ! -e "$LIVE/booted" ] && [ "${STAGE_BOOTING:-no}" = no ]; then
    mkdir -p "$KEPT"
    if mkdir "$KEPT/first-boot" 2>/dev/null; then
        STAGE_BOOTING=yes /usr/lib/testbed/boot > /dev/null 2>&1 || :
    fi
    waited=0
    while [ ! -e "$LIVE/booted" ] && [ "$waited" -lt 50 ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
fi
