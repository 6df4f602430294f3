# shellcheck shell=bash
# The machine in the hands of libvirt, so that the controller takes its snapshots: a libvirtd of our own, of a user's session, which
# touches nothing of one that the machine may have.

# Short, since sockets lie below it, whose paths have at most 107 bytes; and not in DIR, which may be closed to other users.
LIBVIRT=/run/testbed-$NAME
LIBVIRT_USER=nobody

libvirt_socket() { echo "$LIBVIRT/libvirt/libvirt-sock"; }
libvirt_uri() { echo "qemu+unix:///session?socket=$(libvirt_socket)"; }

# The command of a hypervisor's client, as an operator would say it.
libvirt_virsh() { virsh --quiet --connect "$(libvirt_uri)" "$@"; }

libvirt_up() {
    alive "$DIR/libvirt.pid" && return
    install -d -o "$LIBVIRT_USER" -m 0755 "$LIBVIRT"
    # In a mount namespace of its own, which `ip netns exec` makes: the user may open these devices there, and nowhere else.
    setsid ip netns exec "$NAME" sh -c '
        home=$1 user=$2
        for device in net/tun kvm; do
            if [ -c "/dev/$device" ]; then
                cp -a "/dev/$device" "$home/device" && chown "$user" "$home/device"
                mount --bind "$home/device" "/dev/$device" && rm "$home/device"
            fi
        done
        exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups env HOME="$home" XDG_RUNTIME_DIR="$home" XDG_CONFIG_HOME="$home" XDG_CACHE_HOME="$home" libvirtd
    ' - "$LIBVIRT" "$LIBVIRT_USER" > "$DIR/libvirt.log" 2>&1 < /dev/null &
    echo $! > "$DIR/libvirt.pid"
    within 60 libvirt_answers || fail "libvirtd does not answer" "$(tail -n 3 "$DIR/libvirt.log")"
}

libvirt_answers() { libvirt_virsh version > /dev/null 2>&1; }

# libvirt_start DISK CONSOLE
libvirt_start() {
    local kind=qemu processor=maximum
    if [ "$(vm_accelerator)" = kvm ]; then kind=kvm processor=host-passthrough; fi
    libvirt_up
    chown "$LIBVIRT_USER" "$1"
    install -o "$LIBVIRT_USER" -m 0644 /dev/null "$LIBVIRT/console"
    ln -sf "$LIBVIRT/console" "$2"
    cat > "$DIR/domain.xml" << END
<domain type='$kind'>
  <name>$VM_HOST</name>
  <memory unit='MiB'>${TESTBED_VM_MEMORY:-1024}</memory>
  <vcpu>2</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/></features>
  <cpu mode='$processor'/>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe' discard='unmap'/>
      <source file='$1'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='ethernet'>
      <mac address='52:54:00:77:00:01'/>
      <target dev='$VM_HOST' managed='no'/>
      <model type='virtio'/>
      <rom enabled='no'/>
    </interface>
    <serial type='file'><source path='$LIBVIRT/console'/></serial>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='none'/>
  </devices>
</domain>
END
    libvirt_virsh define "$DIR/domain.xml" > /dev/null
    libvirt_virsh start "$VM_HOST" > /dev/null
    # libvirt's own note, since going back to a snapshot makes a new process of the machine.
    ln -sf "$LIBVIRT/libvirt/qemu/run/$VM_HOST.pid" "$HOSTS/$VM_HOST/supervisor.pid"
}

# Where a client finds it that is started by `testbed exec`, as from an operator's profile.
libvirt_export() {
    if [ -e "$DIR/libvirt.pid" ]; then
        LIBVIRT_DEFAULT_URI=$(libvirt_uri)
        export LIBVIRT_DEFAULT_URI
    fi
}

libvirt_down() {
    if alive "$DIR/libvirt.pid"; then
        kill "$(cat "$DIR/libvirt.pid")"
        within 20 libvirt_is_gone || fail "libvirtd does not end"
    fi
    rm -rf "$LIBVIRT"
}

libvirt_is_gone() { ! alive "$DIR/libvirt.pid"; }
