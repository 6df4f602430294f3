# shellcheck shell=bash
# All hosts together, and the files with which fleetlift finds them.

fleet_up() {
    local number names=()
    count_check "$1" 200
    for number in $(seq "$1"); do names+=("$(host_name "$number")"); done
    hosts_up "$HERE/fleet" 1 "${names[@]}"
    say "for example: $HERE/testbed exec fleetlift run -i $FLEET -p debian12-to-debian13 --yes"
}

# Hosts that look like CentOS 7.
el_up() {
    local number names=()
    count_check "$1" 20
    for number in $(seq "$1"); do names+=("$(printf 'el-%02d' "$number")"); done
    hosts_up "$HERE/el" 220 "${names[@]}"
    say "for example: $HERE/testbed exec fleetlift run -i $FLEET -p centos7-to-rocky9 --yes"
}

count_check() {
    case $1 in '' | *[!0-9]*) fail "'$1' is no number of hosts" ;; esac
    if [ "$1" -lt 1 ] || [ "$1" -gt "$2" ]; then fail "between 1 and $2 hosts can be up" "" "their addresses are of one /24"; fi
}

# hosts_up FORM NUMBER NAME…: the files of their fleet are made from those in the folder FORM, the first one has this number.
hosts_up() {
    local form=$1 number=$2 name
    shift 2
    needs_check $#
    if [ -d "$HOSTS/$VM_HOST" ]; then fail "a virtual machine is up in this testbed" "" "containers want one of their own: testbed down, or TESTBED_NAME and TESTBED_DIR"; fi
    mkdir -p "$DIR" "$HOSTS" "$CACHE"
    install -d -m 0700 "$FLEET"
    [ -e "$KEY" ] || ssh-keygen -q -t ed25519 -N '' -C testbed -f "$KEY"
    network_up
    archive_up
    cgroup_up
    disk_up
    base_up
    roles_up "$@"
    for name in "$@"; do
        host_make "$number" "$name"
        number=$((number + 1))
    done
    fleet_write "$form"
    for name in "$@"; do
        alive "$HOSTS/$name/supervisor.pid" || host_start "$name"
    done
    for name in "$@"; do
        within 120 host_answers "$name" || fail "$name does not answer" "$(tail -n 3 "$HOSTS/$name/console")" "its console: $HOSTS/$name/console"
    done
    say "$# hosts are up; their fleet: $FLEET"
}

# Hosts that are there, in order of their numbers.
fleet_hosts() {
    local state
    for state in "$HOSTS"/*/; do
        if [ -e "$state/address" ]; then echo "$(cut -d. -f4 "$state/address") $(basename "$state")"; fi
    done | sort -n | cut -d' ' -f2
}

fleet_write() {
    local form=$1 name kind key role
    : > "$FLEET/known_hosts"
    {
        sed "s/@MIGRATE2ROCKY@/$(sha256sum < "$HERE/el/migrate2rocky9.sh" | cut -d' ' -f1)/" "$form/hosts.toml"
        for role in $(fleet_hosts | cut -d- -f1 | sort -u); do
            printf '\n[groups.%s]\nhosts = [%s]\n' "$role" "$(fleet_hosts | grep "^$role-" | sed 's/.*/"&"/' | paste -sd, | sed 's/,/, /g')"
        done
        for name in $(fleet_hosts); do
            printf '\n[hosts.%s]\naddress = "%s"\n' "$name" "$(address_of "$name")"
            host_keys "$name" | while read -r kind key _; do echo "$(address_of "$name") $kind $key"; done >> "$FLEET/known_hosts"
        done
    } > "$FLEET/hosts.toml"
    # Waves of roles that this fleet does not have would be faults.
    rm -f "$FLEET/rollout.toml"
    [ -e "$form/rollout.toml" ] || return 0
    if [ "$form" != "$HERE/fleet" ] || [ "$(fleet_hosts | cut -d- -f1 | sort -u | wc -l)" -eq 4 ]; then
        cp "$form/rollout.toml" "$FLEET/rollout.toml"
    fi
}

fleet_ssh() {
    local name=$1
    shift
    network_exec ssh -i "$KEY" -o BatchMode=yes -o ConnectTimeout=5 -o UserKnownHostsFile="$FLEET/known_hosts" -o LogLevel=ERROR \
        "$FLEET_USER@$(address_of "$name")" "$@"
}

host_system() {
    if is_vm "$1"; then
        fleet_ssh "$1" '. /etc/os-release; echo "$PRETTY_NAME, kernel $(uname -r)"' 2> /dev/null || echo 'a virtual machine that does not answer'
    else
        sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' "$DISK/$1/root/etc/os-release"
    fi
}

fleet_show() {
    [ -d "$HOSTS" ] || fail "no testbed is up in $DIR" "" "testbed up"
    local name power system
    for name in $(fleet_hosts); do
        power=dark
        if alive "$HOSTS/$name/supervisor.pid"; then power=on; fi
        system=$(host_system "$name")
        printf '%-9s %-11s %-5s %s\n' "$name" "$(address_of "$name")" "$power" "$system"
    done
    awk '$3 == "fetched" { f++; fb += $4 } $3 == "kept" { k++; kb += $4 }
        END { printf "archive: %d files (%d MB) fetched, %d (%d MB) handed out again\n", f, fb / 1e6, k, kb / 1e6 }' "$DIR/archive.log"
    if [ -e "$CACHE/archive/frozen" ]; then echo 'archive: frozen, what is kept is all there is (testbed archive thaw)'; fi
    if mountpoint -q "$DISK"; then printf 'disk: %s\n' "$(df -Ph "$DISK" | awk 'NR == 2 { print $3 " used" }')"; fi
}

fleet_down() {
    local name
    if [ -d "$HOSTS" ]; then
        for name in $(fleet_hosts); do host_kill "$name"; done
    fi
    base_down
    archive_down
    cgroup_down
    network_down
    disk_down
    libvirt_down
    vm_down
    rm -rf "$DIR"
}
