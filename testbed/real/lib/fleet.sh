# shellcheck shell=bash
# All hosts together, and the files with which fleetlift finds them.

fleet_up() {
    local count=$1 number name
    case $count in '' | *[!0-9]*) fail "'$count' is no number of hosts" ;; esac
    if [ "$count" -lt 1 ] || [ "$count" -gt 200 ]; then fail "between 1 and 200 hosts can be up" "" "their addresses are of one /24"; fi
    needs_check "$count"
    mkdir -p "$DIR" "$HOSTS" "$CACHE"
    install -d -m 0700 "$FLEET"
    [ -e "$KEY" ] || ssh-keygen -q -t ed25519 -N '' -C testbed -f "$KEY"
    network_up
    archive_up
    cgroup_up
    disk_up
    base_up
    for number in $(seq "$count"); do
        name=$(host_name "$number")
        role_up "$(role_of "$name")"
        host_make "$number" "$name"
    done
    fleet_write
    for number in $(seq "$count"); do
        name=$(host_name "$number")
        alive "$HOSTS/$name/supervisor.pid" || host_start "$name"
    done
    for number in $(seq "$count"); do
        name=$(host_name "$number")
        within 120 host_answers "$name" || fail "$name does not answer" "$(tail -n 3 "$HOSTS/$name/console")" "its console: $HOSTS/$name/console"
    done
    say "$count hosts are up; their fleet: $FLEET"
    say "for example: $HERE/testbed exec fleetlift run -i $FLEET -p debian12-to-debian13 --yes"
}

# Hosts that are there, in order of their numbers.
fleet_hosts() {
    local state
    for state in "$HOSTS"/*/; do
        if [ -e "$state/address" ]; then echo "$(cut -d. -f4 "$state/address") $(basename "$state")"; fi
    done | sort -n | cut -d' ' -f2
}

fleet_write() {
    local name key
    : > "$FLEET/known_hosts"
    {
        cat "$HERE/fleet/hosts.toml"
        for role in mon cache web db; do
            printf '\n[groups.%s]\nhosts = [%s]\n' "$role" "$(fleet_hosts | grep "^$role-" | sed 's/.*/"&"/' | paste -sd, | sed 's/,/, /g')"
        done
        for name in $(fleet_hosts); do
            printf '\n[hosts.%s]\naddress = "%s"\n' "$name" "$(address_of "$name")"
            for key in "$DISK/$name/root"/etc/ssh/ssh_host_*.pub; do
                printf '%s %s\n' "$(address_of "$name")" "$(cut -d' ' -f1,2 "$key")" >> "$FLEET/known_hosts"
            done
        done
    } > "$FLEET/hosts.toml"
    # Waves of roles that this fleet does not have would be faults.
    if [ "$(fleet_hosts | cut -d- -f1 | sort -u | wc -l)" -eq 4 ]; then
        cp "$HERE/fleet/rollout.toml" "$FLEET/rollout.toml"
    else
        rm -f "$FLEET/rollout.toml"
    fi
}

fleet_ssh() {
    local name
    name=$(host_named "${1-}")
    shift
    network_exec ssh -i "$KEY" -o BatchMode=yes -o ConnectTimeout=5 -o UserKnownHostsFile="$FLEET/known_hosts" -o LogLevel=ERROR \
        "$FLEET_USER@$(address_of "$name")" "$@"
}

fleet_show() {
    [ -d "$HOSTS" ] || fail "no testbed is up" "" "testbed up"
    local name power system
    for name in $(fleet_hosts); do
        power=dark
        if alive "$HOSTS/$name/supervisor.pid"; then power=on; fi
        system=$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' "$DISK/$name/root/etc/os-release")
        printf '%-9s %-11s %-5s %s\n' "$name" "$(address_of "$name")" "$power" "$system"
    done
    awk '$3 == "fetched" { f++; fb += $4 } $3 == "kept" { k++; kb += $4 }
        END { printf "archive: %d files (%d MB) fetched, %d (%d MB) handed out again\n", f, fb / 1e6, k, kb / 1e6 }' "$DIR/archive.log"
    printf 'disk: %s\n' "$(df -Ph "$DISK" | awk 'NR == 2 { print $3 " used" }')"
}

fleet_down() {
    local name
    if [ -d "$HOSTS" ]; then
        for name in $(fleet_hosts); do host_kill "$name"; done
    fi
    archive_down
    cgroup_down
    network_down
    disk_down
    rm -rf "$DIR"
}
