# Makes one spec of a list of packages, as the stage set has them: kind, name, epoch, version, release, architecture, vendor.
# Each is a package of its own with nothing in it, but for kernels, releases, and what stands in for leapp.
#
# Given: role, and the folder of the release's own files.

BEGIN {
    FS = "\t"
    print "Name: fleetlift-stand-ins\nVersion: 0\nRelease: 0\nSummary: Stand-ins\nLicense: none\n%description\nStand-ins."
}

$1 != "base" && $1 != role && $1 != "any" { next }
$6 == "(none)" { next }

{
    printf "%%package -n %s\nSummary: Stand-in for %s, part of a testbed\nEpoch: %s\nVersion: %s\nRelease: %s\nVendor: %s\n", $2, $2, $3, $4, $5, $7
    print "AutoReqProv: no"
    if ($6 == "noarch") print "BuildArch: noarch"
    if ($2 ~ /-release$/ && $2 !~ /^(epel|elevate)/) {
        printf "Provides: system-release(releasever) = %s\n", major
        if ($2 == "almalinux-release") print "Obsoletes: centos-release"
        files[$2] = "/usr/lib/os-release\n/etc/redhat-release"
        install = install "install -D -m 644 " shelf "/os-release %{buildroot}/usr/lib/os-release\n"
        install = install "install -D -m 644 " shelf "/redhat-release %{buildroot}/etc/redhat-release\n"
    }
    if ($2 == "kernel") {
        release = $4 "-" $5 "." $6
        print "Provides: installonlypkg(kernel)"
        files[$2] = "/boot/vmlinuz-" release "\n/boot/initramfs-" release ".img"
        install = install "mkdir -p %{buildroot}/boot\ntouch %{buildroot}/boot/vmlinuz-" release " %{buildroot}/boot/initramfs-" release ".img\n"
    }
    if ($2 == "elevate-release") {
        files[$2] = "/etc/yum.repos.d/ELevate.repo"
        install = install "install -D -m 644 /srv/el/ELevate.repo %{buildroot}/etc/yum.repos.d/ELevate.repo\n"
    }
    if ($2 ~ /^leapp-upgrade-el.toel.$/) {
        print "Provides: leapp-upgrade = " $4
        files[$2] = "/usr/bin/leapp"
        install = install "install -D -m 755 /usr/lib/testbed/leapp %{buildroot}/usr/bin/leapp\n"
    }
    printf "%%description -n %s\nA stand-in for %s: its name and version, and none of its work.\n", $2, $2
    names[++count] = $2
}

END {
    printf "%%install\n%s", install
    for (i = 1; i <= count; i++) printf "%%files -n %s\n%s\n", names[i], files[names[i]]
}
