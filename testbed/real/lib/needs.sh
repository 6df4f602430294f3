# shellcheck shell=bash
# Whether this machine can do it, asked by trying, before anything is made.

# Prints what is missing, a line each; nothing where all is there.
needs_missing() {
    [ "$(id -u)" -eq 0 ] || { echo 'root: containers, network namespaces and loop mounts need it'; return; }
    local pair
    for pair in mmdebstrap:mmdebstrap systemd-nspawn:systemd-container mkfs.btrfs:btrfs-progs ip:iproute2 ssh:openssh-client; do
        command -v "${pair%%:*}" > /dev/null || echo "${pair%%:*}: apt-get install --no-install-recommends ${pair##*:}"
    done
    needs_machine
    grep -qw cgroup2 /proc/filesystems || echo 'control groups of the second version in the kernel'
    grep -qw btrfs /proc/filesystems || modprobe btrfs 2> /dev/null || echo 'btrfs in the kernel'
}

# What containers and virtual machines both need.
needs_machine() {
    [ -x /usr/lib/apt/apt-helper ] || echo 'apt, which knows where packages come from'
    if command -v ip > /dev/null; then
        if ip netns add "$NAME-try.$$" 2> /dev/null; then
            ip netns del "$NAME-try.$$"
        else
            echo 'network namespaces: this machine, or the container that it is, does not allow them'
        fi
    fi
    [ -e /dev/loop-control ] || echo 'loop devices'
    if [ -z "${SOURCES=$(archive_sources)}" ]; then
        echo "an archive of Debian: apt of this machine knows none (apt-get update); or name it by TESTBED_ARCHIVE and TESTBED_SECURITY"
    fi
}

needs_check() {
    local missing room parent
    # Asked once, since apt takes its time to answer.
    SOURCES=$(archive_sources)
    missing=$(needs_missing)
    [ -z "$missing" ] || fail "this machine cannot have real hosts yet" "it lacks
$(printf '%s' "$missing" | sed 's/^/    /')"
    parent=$(dirname "$DIR")
    [ -d "$parent" ] || fail "$parent is not there" "" "name another folder by TESTBED_DIR"
    # What an upgrade of a host writes, and the bases.
    room=$((($1 * 650 + 500) * 1024))
    if [ ! -d "$DIR" ] && [ "$(df -Pk "$parent" | awk 'NR == 2 { print $4 }')" -lt "$room" ]; then
        fail "$parent has less than $((room / 1024 / 1024)) GiB for $1 hosts" "" "fewer hosts, or another folder by TESTBED_DIR"
    fi
}
