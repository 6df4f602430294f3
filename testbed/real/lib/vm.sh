# shellcheck shell=bash
# One virtual machine, for what containers do not have: a kernel of its own, a boot loader, a device mapper, a disk whose file
# system loses what was not synced. It is one host more of the fleet; its disk is a layer over an image that is made once.

VM_HOST=vm-01
VM_NUMBER=240
VM_PACKAGES=openssh-server,systemd,systemd-sysv,dbus,sudo,iproute2,procps,ca-certificates,apt-utils,less,kmod,udev,cron,fdisk,linux-image-cloud-amd64,initramfs-tools,zstd,grub-pc,lvm2,thin-provisioning-tools,btrfs-progs

is_vm() { [ "$1" = "$VM_HOST" ]; }

# The layouts, and the part of docs/snapshots.md whose commands fit them.
vm_section() {
    case ${1-} in
        lvm) echo '## LVM, thick' ;;
        thin) echo '## LVM, thin' ;;
        btrfs) echo '## btrfs' ;;
        libvirt) echo '## Hypervisors' ;;
        *) fail "'${1-}' is no layout of a virtual machine's disk" "" "lvm, thin, btrfs, libvirt" ;;
    esac
}

vm_up() {
    local layout=$1
    vm_section "$layout" > /dev/null
    # What is kept: the installer's disk, an image for each layout, what they boot with and who may log in.
    VM_CACHE=$CACHE/vm-$({ echo "$SUITE $VM_PACKAGES"; cat "$HERE/vm/install"; declare -f vm_installer_fill base_dress; } | cksum | cut -d' ' -f1)
    vm_needs_check "$layout"
    # Its snapshot commands are not those of containers.
    if fleet_hosts | grep -qvx "$VM_HOST"; then fail "containers are up in this testbed" "" "a machine wants one of its own: testbed down, or TESTBED_NAME and TESTBED_DIR"; fi
    mkdir -p "$DIR" "$HOSTS" "$VM_CACHE"
    install -d -m 0700 "$FLEET"
    network_up
    archive_up
    vm_installer
    # libvirt takes snapshots of any disk.
    vm_image "${layout/libvirt/lvm}"
    install -m 0600 "$VM_CACHE/key" "$KEY"
    cp "$VM_CACHE/key.pub" "$KEY.pub"
    vm_make "$layout"
    vm_fleet "$layout"
    alive "$HOSTS/$VM_HOST/supervisor.pid" || host_start "$VM_HOST"
    within 600 host_answers "$VM_HOST" || fail "$VM_HOST does not answer" "$(tail -n 3 "$HOSTS/$VM_HOST/console")" "its console: $HOSTS/$VM_HOST/console"
    say "$VM_HOST is up; its fleet: $FLEET"
}

# A disk with a whole Debian and its kernel. No part of it needs more than this machine has; that part is `vm/install`.
vm_installer() {
    [ ! -e "$VM_CACHE/installer.img" ] || return 0
    local image=$VM_CACHE/installer.part root=$DIR/installer code
    say "making a Debian for a virtual machine, $SUITE (a minute, once)"
    [ -e "$VM_CACHE/key" ] || ssh-keygen -q -t ed25519 -N '' -C testbed -f "$VM_CACHE/key"
    rm -f "$image"
    truncate -s 4G "$image"
    mkfs.ext4 -q -F "$image"
    mkdir -p "$root"
    mount -o loop,noatime "$image" "$root"
    # In a shell of its own, and not in a condition, where bash would go on after what fails.
    set +e
    (set -e && vm_installer_fill "$root")
    code=$?
    set -e
    if [ "$code" -ne 0 ]; then
        umount "$root"
        fail "cannot make a Debian for a virtual machine" "$(tail -n 3 "$DIR/vm.log")" "all that was said: $DIR/vm.log"
    fi
    umount "$root"
    rmdir "$root"
    mv "$image" "$VM_CACHE/installer.img"
}

vm_installer_fill() {
    local root=$1
    rmdir "$root/lost+found"
    network_exec mmdebstrap --quiet --mode=root --variant=minbase --format=directory --include="$VM_PACKAGES" \
        --essential-hook='printf "grub-pc grub-pc/install_devices multiselect\ngrub-pc grub-pc/install_devices_empty boolean true\n" | chroot "$1" debconf-set-selections' \
        "$SUITE" "$root" "deb $(archive_url debian) $SUITE main" "deb $(archive_url debian) $SUITE-updates main" \
        "deb $(archive_url debian-security) $SUITE-security main" > "$DIR/vm.log" 2>&1
    # Its network is systemd-networkd's, which needs no name of the card.
    mkdir "$root/etc/network"
    KEY=$VM_CACHE/key base_dress "$root"
    # A machine of its own syncs: what a power cut leaves is part of what is to be seen.
    rm -r "$root/etc/network"
    rm "$root/etc/dpkg/dpkg.cfg.d/testbed"
    ssh-keygen -A -f "$root" > /dev/null
    cat "$root"/etc/ssh/ssh_host_*.pub > "$VM_CACHE/host-keys"
    echo "$VM_HOST" > "$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$VM_HOST" > "$root/etc/hosts"
    printf '[Match]\nName=en*\n[Network]\nAddress=%s/24\n' "$(vm_address)" > "$root/etc/systemd/network/10-testbed.network"
    chroot "$root" systemctl --quiet enable systemd-networkd
    printf 'GRUB_TIMEOUT=0\nGRUB_TERMINAL=serial\nGRUB_CMDLINE_LINUX="console=ttyS0"\nGRUB_CMDLINE_LINUX_DEFAULT=""\nGRUB_DISABLE_OS_PROBER=true\n' > "$root/etc/default/grub.d/testbed.cfg"
    # Only what this machine needs to boot: half a minute less for each initramfs on an emulated processor.
    echo MODULES=dep > "$root/etc/initramfs-tools/conf.d/testbed"
    install -D -m 0755 "$HERE/vm/install" "$root/usr/lib/testbed/install"
    network_exec chroot "$root" apt-get -q update >> "$DIR/vm.log" 2>&1
    cp "$root"/boot/vmlinuz-* "$VM_CACHE/vmlinuz"
    cp "$root"/boot/initrd.img-* "$VM_CACHE/initrd"
}

# An image of this layout, made by the machine itself in a boot of its own.
vm_image() {
    local layout=$1 image=$VM_CACHE/$1.qcow2 part=$VM_CACHE/$1.part
    [ ! -e "$image" ] || return 0
    say "installing a virtual machine, layout '$layout' (minutes, once)"
    qemu-img create -q -f qcow2 "$part" 24G
    vm_qemu -m 1024 -serial "file:$DIR/install.console" -no-reboot \
        -drive "file=$part,format=qcow2,if=virtio,cache=unsafe,discard=unmap" \
        -drive "file=$VM_CACHE/installer.img,format=raw,if=virtio,cache=unsafe,snapshot=on" \
        -kernel "$VM_CACHE/vmlinuz" -initrd "$VM_CACHE/initrd" \
        -append "root=/dev/vdb rw init=/usr/lib/testbed/install console=ttyS0 quiet layout=$layout" > "$DIR/vm.log" 2>&1 ||
        fail "QEMU does not start" "$(tail -n 3 "$DIR/vm.log")"
    tr -d '\r' < "$DIR/install.console" | grep -qx 'install ended with 0' ||
        fail "the virtual machine could not be installed" "$(tail -n 3 "$DIR/install.console")" "its console: $DIR/install.console"
    mv "$part" "$image"
}

# What every virtual machine has, and nothing that QEMU gives unasked.
vm_qemu() {
    local processor=max
    [ "$(vm_accelerator)" = tcg ] || processor=host
    "${VM_RUN[@]}" qemu-system-x86_64 -accel "$(vm_accelerator_words)" -cpu "$processor" -smp 2 -nodefaults -display none -device virtio-rng-pci "$@"
}
VM_RUN=(timeout 3600)

vm_accelerator_words() {
    case $(vm_accelerator) in
        # Threads for each processor; a small cache of translated code, since memory is shared.
        tcg) echo tcg,thread=multi,tb-size=256 ;;
        *) vm_accelerator ;;
    esac
}

# kvm where a kernel says its first line under it, else emulation. That /dev/kvm opens proves nothing.
vm_accelerator() {
    if [ -n "${TESTBED_ACCELERATOR-}" ]; then
        echo "$TESTBED_ACCELERATOR"
        return
    fi
    if [ ! -s "$VM_CACHE/accelerator" ]; then
        echo tcg > "$VM_CACHE/accelerator"
        if [ -w /dev/kvm ] && vm_kvm_works; then echo kvm > "$VM_CACHE/accelerator"; fi
    fi
    cat "$VM_CACHE/accelerator"
}

vm_kvm_works() {
    timeout 20 qemu-system-x86_64 -accel kvm -cpu host -m 512 -nodefaults -display none -serial stdio -no-reboot \
        -kernel "$VM_CACHE/vmlinuz" -append 'console=ttyS0 panic=-1' < /dev/null 2> /dev/null | grep -q 'Linux version'
}

vm_address() { echo "10.77.0.$((10 + VM_NUMBER))"; }

vm_make() {
    local state=$HOSTS/$VM_HOST
    [ ! -d "$state" ] || return 0
    mkdir -p "$state.part" "$CACHE/disks"
    echo "$VM_CACHE" > "$state.part/cache"
    qemu-img create -q -f qcow2 -b "$VM_CACHE/${1/libvirt/lvm}.qcow2" -F qcow2 "$(vm_disk)"
    ip -n "$NAME" tuntap add "$VM_HOST" mode tap user "$LIBVIRT_USER"
    ip -n "$NAME" link set "$VM_HOST" master hosts up
    vm_address > "$state.part/address"
    echo "$1" > "$state.part/layout"
    mv "$state.part" "$state"
}

# Not in memory, where the other disks are: nothing waits for its syncs, and it grows by gigabytes.
vm_disk() { echo "$CACHE/disks/$NAME.qcow2"; }

vm_start() {
    local state=$HOSTS/$VM_HOST
    VM_CACHE=$(cat "$state/cache")
    if [ "$(cat "$state/layout")" = libvirt ]; then
        libvirt_start "$(vm_disk)" "$state/console"
        return
    fi
    # `exec`, so that the number of the process is the machine's.
    VM_RUN=(exec setsid ip netns exec "$NAME")
    # Each boot's console follows the last one's.
    vm_qemu -m "${TESTBED_VM_MEMORY:-1024}" -chardev "file,id=console,path=$state/console,append=on" -serial chardev:console \
        -qmp "unix:$state/qmp,server=on,wait=off" \
        -drive "file=$(vm_disk),format=qcow2,if=virtio,cache=unsafe,discard=unmap" \
        -netdev "tap,id=net,ifname=$VM_HOST,script=no,downscript=no" -device virtio-net-pci,netdev=net,mac=52:54:00:77:00:01,romfile= \
        >> "$state/qemu.log" 2>&1 < /dev/null &
    echo $! > "$state/supervisor.pid"
}

# As if the cable was pulled out: what the machine had not written is gone.
vm_kill() {
    alive "$HOSTS/$VM_HOST/supervisor.pid" || return 0
    kill -KILL "$(cat "$HOSTS/$VM_HOST/supervisor.pid")" 2> /dev/null || true
    within 20 host_is_dark "$VM_HOST" || fail "$VM_HOST does not go dark"
}

vm_down() { rm -f "$(vm_disk)"; }

# The fleet of one host, whose snapshot commands are those of the documentation, letter by letter.
vm_fleet() {
    fleet_write "$HERE/vm"
    awk -v head="$(vm_section "$1")" '/^## / { here = $0 == head } here && /^```$/ { exit } here && inside { print } here && /^```toml/ { inside = 1 }' \
        "$ROOT/docs/snapshots.md" > "$DIR/vars"
    grep -q '^\[vars\]' "$DIR/vars" || fail "docs/snapshots.md has no commands for '$1'"
    cat "$DIR/vars" >> "$FLEET/hosts.toml"
}

vm_needs_missing() {
    [ "$(id -u)" -eq 0 ] || { echo 'root: network namespaces and loop mounts need it'; return; }
    local pair
    for pair in qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils mmdebstrap:mmdebstrap mkfs.ext4:e2fsprogs ip:iproute2 ssh:openssh-client; do
        command -v "${pair%%:*}" > /dev/null || echo "${pair%%:*}: apt-get install --no-install-recommends ${pair##*:}"
    done
    if [ "${1-}" = libvirt ]; then
        for pair in libvirtd:libvirt-daemon virsh:libvirt-clients setpriv:util-linux; do
            command -v "${pair%%:*}" > /dev/null || echo "${pair%%:*}: apt-get install --no-install-recommends ${pair##*:} libvirt-daemon-driver-qemu"
        done
    fi
    needs_machine
    [ -c /dev/net/tun ] || echo 'tap devices: there is no /dev/net/tun'
}

vm_needs_check() {
    local missing
    # Asked once, since apt takes its time to answer.
    SOURCES=$(archive_sources)
    missing=$(vm_needs_missing "$1")
    [ -z "$missing" ] || fail "this machine cannot have a virtual machine yet" "$(printf '\n%s' "$missing" | sed 's/^/    /')"
    mkdir -p "$CACHE"
    if [ "$(df -Pk "$CACHE" | awk 'NR == 2 { print $4 }')" -lt $((8 * 1024 * 1024)) ]; then
        fail "$CACHE has less than 8 GiB for a virtual machine" "" "another folder by TESTBED_CACHE"
    fi
}
