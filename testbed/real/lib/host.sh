# shellcheck shell=bash
# One host: its disk, its power.

# host_make NUMBER NAME: a disk of its own, with keys, machine id and address of its own.
host_make() {
    local name=$2 disk=$DISK/$2 address=10.77.0.$((10 + $1))
    [ ! -d "$HOSTS/$name" ] || return 0
    mkdir -p "$disk" "$HOSTS/$name.part"
    btrfs -q subvolume snapshot "$DISK/base-$(role_of "$name")" "$disk/root"
    mkdir -p "$disk/snapshots" "$disk/kept" "$disk/root/.snapshots"
    echo "$name" > "$disk/root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" > "$disk/root/etc/hosts"
    tr -d - < /proc/sys/kernel/random/uuid > "$disk/root/etc/machine-id"
    ssh-keygen -A -f "$disk/root" > /dev/null
    network_host "$name" "$address"
    echo "$address" > "$HOSTS/$name.part/address"
    mv "$HOSTS/$name.part" "$HOSTS/$name"
}

host_start() {
    local state=$HOSTS/$1
    if alive "$state/supervisor.pid"; then fail "$1 has power already"; fi
    if is_vm "$1"; then
        vm_start
        return
    fi
    ip -n "$NAME" link set "$1" up
    mkdir -p "$DIR/cgroup/$NAME/$1"
    setsid "$HERE/lib/boot-loop" "$state" "$DISK/$1" "$1" "/run/netns/$NAME.$1" "$DIR/cgroup/$NAME/$1" >> "$state/console" 2>&1 < /dev/null &
    echo $! > "$state/supervisor.pid"
}

# The host's first process, as this machine numbers it.
host_first() {
    ps -o pid= --ppid "$(cat "$HOSTS/$1/container.pid" 2> /dev/null)" 2> /dev/null | head -n 1
}

# The power is cut: the first process of the host is killed, and with it all others, in the middle of whatever they do.
host_kill() {
    local state=$HOSTS/$1
    if is_vm "$1"; then
        vm_kill
        return
    fi
    alive "$state/supervisor.pid" || return 0
    # Who has no power says no goodbye: connections stay open until somebody misses an answer.
    ip -n "$NAME" link set "$1" down || true
    within 20 host_goes_dark "$1" || fail "$1 does not go dark" "" "its console: $state/console"
}

# Cut again until it is dark: between two boots there is nothing to cut.
host_goes_dark() {
    local first
    host_is_dark "$1" && return
    first=$(host_first "$1") || true
    # A container whose first process is not there yet is cut before it begins.
    kill -KILL "${first:-$(cat "$HOSTS/$1/container.pid" 2> /dev/null)}" 2> /dev/null || true
    return 1
}

host_is_dark() { ! alive "$HOSTS/$1/supervisor.pid"; }

# As root at the host's own console: also where it has no network, and lets nobody in any more.
host_console() {
    local first
    # A virtual machine's console is a serial line with a login; it is asked as any machine is.
    if is_vm "$1"; then
        shift
        [ $# -gt 0 ] || set -- bash -l
        fleet_ssh "$VM_HOST" "sudo $(printf '%q ' "$@")"
        return
    fi
    first=$(host_first "$1") || true
    [ -n "$first" ] || fail "$1 has no power" "" "testbed start $1"
    shift
    [ $# -gt 0 ] || set -- bash -l
    exec nsenter --target "$first" --mount --uts --ipc --net --pid --root --wd \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" "$@"
}

# From outside, as a hypervisor does it. The host sees nothing of it.
host_snapshot() {
    if is_vm "$1"; then fail "the disk of a virtual machine is kept by itself" "" "its layouts all have snapshots of their own"; fi
    [ -n "${2-}" ] || fail "what is the snapshot to be called?" "" "testbed snapshot $1 before"
    local kept=$DISK/$1/kept/$2
    if [ -d "$kept" ]; then btrfs -q subvolume delete "$kept"; fi
    btrfs -q subvolume snapshot -r "$DISK/$1/root" "$kept"
}

host_rollback() {
    local disk=$DISK/$1
    [ -n "${2-}" ] && [ -d "$disk/kept/$2" ] || fail "$1 has no snapshot '${2-}'" "it has: $(cd "$disk/kept" && echo * | sed 's/^[*]$/none/')" "testbed snapshot $1 NAME makes one"
    host_kill "$1"
    btrfs -q subvolume delete "$disk/root"
    btrfs -q subvolume snapshot "$disk/kept/$2" "$disk/root"
    host_start "$1"
}

# The host's public keys, a line each.
host_keys() {
    if is_vm "$1"; then cat "$(cat "$HOSTS/$1/cache")/host-keys"; else cat "$DISK/$1/root"/etc/ssh/ssh_host_*.pub; fi
}

host_answers() { fleet_ssh "$1" true 2> /dev/null; }

# Control groups of the second version, wherever this machine has them.
cgroup_up() {
    mountpoint -q "$DIR/cgroup" && return
    mkdir -p "$DIR/cgroup"
    mount -t cgroup2 none "$DIR/cgroup"
    mkdir -p "$DIR/cgroup/$NAME"
}

cgroup_down() {
    mountpoint -q "$DIR/cgroup" || return 0
    # From the leaves up: a group is removed when it is empty.
    within 20 cgroup_empty || fail "processes of hosts are left" "$(find "$DIR/cgroup/$NAME" -name cgroup.procs -exec cat {} +)"
    umount "$DIR/cgroup"
}

cgroup_empty() {
    find "$DIR/cgroup/$NAME" -depth -type d -exec rmdir {} + 2> /dev/null
    [ ! -d "$DIR/cgroup/$NAME" ]
}
