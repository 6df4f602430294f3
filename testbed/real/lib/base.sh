# shellcheck shell=bash
# The systems that hosts begin with: one Debian, and for each role what it serves on top.

SUITE=${TESTBED_SUITE:-bookworm}
PACKAGES=openssh-server,systemd,systemd-sysv,dbus,sudo,iproute2,iputils-ping,procps,ca-certificates,apt-utils,less,kmod,udev,ifupdown,locales,cron,rsyslog,curl,btrfs-progs

# What a role serves: real services with state and ports, small enough for a fleet on one machine.
role_packages() {
    case $1 in
        mon) echo nagios-nrpe-server ;;
        cache) echo memcached ;;
        web) echo nginx ;;
        db) echo redis-server ;;
        el) echo rpm dnf createrepo-c nginx ;;
        *) fail "'$1' is no role" ;;
    esac
}

# The loop file with its file system, where each host's disk is a folder of subvolumes.
disk_up() {
    mountpoint -q "$DISK" && return
    mkdir -p "$DISK"
    truncate -s "${TESTBED_DISK_SIZE:-24G}" "$DIR/disk.img"
    mkfs.btrfs -q -f "$DIR/disk.img" > /dev/null
    mount -o loop,noatime,discard "$DIR/disk.img" "$DISK"
}

disk_down() {
    if mountpoint -q "$DISK"; then
        within 20 umount "$DISK" 2> /dev/null || fail "$DISK is in use" "by the processes $(disk_users)" "leave that folder, or end them; then testbed down"
    fi
    rm -rf "$DISK" "$DIR/disk.img"
}

disk_users() {
    local process
    for process in /proc/[0-9]*; do
        case $(readlink "$process/root" "$process/cwd" 2> /dev/null) in
            *"$DISK"*) printf '%s (%s) ' "${process#/proc/}" "$(cat "$process/comm")" ;;
        esac
    done
}

# What an attempt before this one may have left.
subvolume_away() {
    if [ -d "$1" ]; then btrfs -q subvolume delete "$1"; fi
}

# Ends what is still at work in a base: whoever kills a bring-up leaves its apt behind, and the disk in use.
base_down() {
    local process
    for process in /proc/[0-9]*; do
        case $(readlink "$process/root" 2> /dev/null) in
            "$DISK"/*) kill -KILL "${process#/proc/}" 2> /dev/null || true ;;
        esac
    done
}

base_up() {
    [ ! -d "$DISK/base" ] || return 0
    local tar
    tar=$CACHE/$SUITE-$(printf %s "$PACKAGES" | cksum | cut -d' ' -f1).tar
    if [ ! -s "$tar" ]; then
        say "making a Debian, $SUITE (half a minute, once)"
        network_exec mmdebstrap --quiet --mode=root --variant=minbase --include="$PACKAGES" "$SUITE" "${tar%.tar}.part.tar" \
            "deb $(archive_url debian) $SUITE main" "deb $(archive_url debian) $SUITE-updates main" \
            "deb $(archive_url debian-security) $SUITE-security main" || fail "mmdebstrap could not make a Debian" "" "what it asked for: $DIR/archive.log"
        mv "${tar%.tar}.part.tar" "$tar"
    fi
    subvolume_away "$DISK/base.part"
    btrfs -q subvolume create "$DISK/base.part"
    tar -C "$DISK/base.part" -xf "$tar" --numeric-owner
    base_dress "$DISK/base.part"
    network_exec chroot "$DISK/base.part" apt-get -q update > "$DIR/base.log" 2>&1 || fail "apt-get update fails" "$(tail -n 3 "$DIR/base.log")"
    mv "$DISK/base.part" "$DISK/base"
}

# What every host of this fleet has and no fresh Debian: a user with a key, no traces of this machine.
base_dress() {
    local root=$1
    rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf"
    : > "$root/etc/machine-id"
    : > "$root/etc/resolv.conf"
    chroot "$root" useradd -m -s /bin/bash "$FLEET_USER"
    install -d -m 0700 "$root/home/$FLEET_USER/.ssh"
    cp "$KEY.pub" "$root/home/$FLEET_USER/.ssh/authorized_keys"
    chroot "$root" chown -R "$FLEET_USER:$FLEET_USER" "/home/$FLEET_USER"
    echo "$FLEET_USER ALL=(ALL) NOPASSWD: ALL" > "$root/etc/sudoers.d/fleet"
    chmod 0440 "$root/etc/sudoers.d/fleet"
    printf 'auto lo\niface lo inet loopback\n' > "$root/etc/network/interfaces"
    # A frozen archive grows old; and hosts need no translations.
    printf 'Acquire::Check-Valid-Until "false";\nAcquire::Languages "none";\nAPT::Install-Recommends "false";\n' > "$root/etc/apt/apt.conf.d/90testbed"
    # Nobody relies on these disks after a power cut of this machine.
    echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/testbed"
}

# roles_up NAME…: the bases that these hosts need, at once.
roles_up() {
    local name role making=() one failed=
    for role in $(for name in "$@"; do role_of "$name"; done | sort -u); do
        role_up "$role" &
        making+=($!)
    done
    for one in "${making[@]}"; do wait "$one" || failed=yes; done
    [ -z "$failed" ] || exit 1
}

# A role's base: the common one, and what the role serves.
role_up() {
    local role=$1 root=$DISK/base-$1
    [ ! -d "$root" ] || return 0
    say "making a host of role '$role'"
    subvolume_away "$root.part"
    btrfs -q subvolume snapshot "$DISK/base" "$root.part"
    # No service may start while the system lies there as a folder.
    printf '#!/bin/sh\nexit 101\n' > "$root.part/usr/sbin/policy-rc.d"
    chmod 0755 "$root.part/usr/sbin/policy-rc.d"
    # shellcheck disable=SC2046 # words
    network_exec env DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$root.part" \
        sh -c 'apt-get -qy install "$@" && apt-get clean' - $(role_packages "$role") \
        > "$DIR/base-$role.log" 2>&1 || fail "cannot install what role '$role' serves" "$(tail -n 3 "$DIR/base-$role.log")"
    rm "$root.part/usr/sbin/policy-rc.d"
    case $role in
        el) el_dress "$root.part" ;;
        *) role_sources "$role" "$root.part" ;;
    esac
    mv "$root.part" "$root"
}

# Both forms of sources are on fleets, so both are here.
role_sources() {
    case $1 in
        web | db)
            rm -f "$2/etc/apt/sources.list"
            printf 'Types: deb\nURIs: %s\nSuites: %s %s-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n' \
                "$(archive_url debian)" "$SUITE" "$SUITE" > "$2/etc/apt/sources.list.d/debian.sources"
            printf 'Types: deb\nURIs: %s\nSuites: %s-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
                "$(archive_url debian-security)" "$SUITE" >> "$2/etc/apt/sources.list.d/debian.sources"
            ;;
        *)
            printf 'deb %s %s main\ndeb %s %s-updates main\ndeb %s %s-security main\n' "$(archive_url debian)" "$SUITE" \
                "$(archive_url debian)" "$SUITE" "$(archive_url debian-security)" "$SUITE" > "$2/etc/apt/sources.list"
            ;;
    esac
}
