#!/bin/bash
# Part of a testbed, not the real migrate2rocky9.sh: its conversion by the real dnf, and none of its checks.
set -e
exec > >(tee -a /var/log/migrate2rocky.log) 2>&1
if [ "${1-}" != -r ]; then echo 'Usage: migrate2rocky9.sh -r'; exit 1; fi
echo 'migrate2rocky - Begin logging'
. /etc/os-release
[ "$ID" = almalinux ] || { echo 'Error: this system is not AlmaLinux 9'; exit 1; }
rm -f /etc/yum.repos.d/*.repo
printf '[base]\nname=Stand-in packages for Rocky 9, part of a testbed\nbaseurl=file:///srv/el/repos/rocky9\ngpgcheck=0\n' > /etc/yum.repos.d/rocky.repo
dnf -y --releasever=9 swap --allowerasing almalinux-release rocky-release
dnf -y distro-sync
# The same versions by another vendor.
rpm -qa --qf '%{NAME} %{VENDOR}\n' | awk '/AlmaLinux/ { print $1 }' | xargs -r dnf -y reinstall
echo 'Done, please reboot your system.'
