# shellcheck shell=bash
# Hosts that look like CentOS 7. Real: the package database, rpm, dnf, their transactions, systemd, sshd, reboots. Of packages there
# are names, versions and vendors only, built here; below them is Debian. leapp, its initramfs, grubby, uname and
# migrate2rocky9.sh are stand-ins, those of the stage set where it has them.

el_dress() {
    local root=$1 stage=$ROOT/testbed/stage kernel file
    mkdir -p "$root/usr/lib/testbed" "$root/srv/el" "$root/etc/rpm" "$root/etc/yum.repos.d" "$root/boot/grub2" "$root/etc/testbed" "$root/etc/selinux" \
        "$root/var/lib/testbed" "$root/etc/systemd/system/ssh.service.d"
    cp -r "$stage/centos7/usr/lib/testbed/." "$stage/common/usr/lib/testbed/." "$root/usr/lib/testbed/"
    install -m 0755 "$stage/centos7/usr/sbin/grubby" "$stage/centos7/usr/sbin/getenforce" "$root/usr/sbin/"
    cp "$stage/centos7/etc/selinux/config" "$root/etc/selinux/config"
    for file in boot upgrade first-boot; do install -m 0755 "$HERE/el/$file" "$root/usr/lib/testbed/$file"; done
    install -m 0755 "$HERE/el/uname" "$root/usr/local/bin/uname"
    printf '#!/bin/sh\n# Part of a testbed, which plays a machine: not the real systemd-detect-virt.\necho none\n' > "$root/usr/local/bin/systemd-detect-virt"
    chmod 0755 "$root/usr/local/bin/systemd-detect-virt" "$root/usr/lib/testbed/leapp" "$root/usr/lib/testbed/first-boot-service"
    cp "$HERE/el/spec.awk" "$HERE/el/build" "$HERE/el/ELevate.repo" "$HERE/el/migrate2rocky9.sh" "$root/srv/el/"
    echo '%_dbpath /var/lib/rpm' > "$root/etc/rpm/macros"
    el_packages "$root"
    cp "$HERE/el/base.repo" "$root/etc/yum.repos.d/CentOS-Base.repo"
    printf '[main]\ngpgcheck=0\n' > "$root/etc/yum.conf"
    ln -sf dnf "$root/usr/bin/yum"
    echo web > "$root/etc/testbed/role"
    kernel=$(chroot "$root" rpm -q --qf '%{VERSION}-%{RELEASE}.%{ARCH}' kernel)
    echo "saved_entry=/boot/vmlinuz-$kernel" > "$root/boot/grub2/grubenv"
    el_units "$root"
}

el_packages() {
    say "building packages that look like CentOS 7, AlmaLinux 8 and 9, Rocky 9"
    chroot "$1" /srv/el/build || fail "rpmbuild could not make the packages" "$(tail -n 3 "$1"/srv/el/*.log)"
    rm -f "$1/usr/lib/os-release" "$1/etc/redhat-release"
    # Those of the release as it was installed; its updates come by yum.
    # shellcheck disable=SC2016 # for the shell inside
    chroot "$1" sh -c 'rpm --initdb && awk -F "\t" "(\$1 == \"base\" || \$1 == \"web\") && \$6 != \"(none)\" { print \"/srv/el/repos/el7/\" \$6 \"/\" \$2 \"-\" \$4 \"-\" \$5 \".\" \$6 \".rpm\" }" \
        /usr/lib/testbed/el7/packages | xargs rpm -i --nodeps' || fail "rpm could not install the packages of CentOS 7"
}

el_units() {
    local units=$1/etc/systemd/system
    printf '[Unit]\nDescription=Stand-in for boot loader and upgrade initramfs, part of a testbed\nBefore=ssh.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/lib/testbed/boot\n[Install]\nWantedBy=multi-user.target\n' \
        > "$units/testbed-boot.service"
    printf '[Unit]\nRequires=testbed-boot.service\nAfter=testbed-boot.service\n' > "$units/ssh.service.d/boot.conf"
    printf '[Unit]\nDescription=Stand-in for NetworkManager, part of a testbed\n[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' \
        > "$units/NetworkManager.service"
    chroot "$1" systemctl --quiet enable testbed-boot NetworkManager
}
