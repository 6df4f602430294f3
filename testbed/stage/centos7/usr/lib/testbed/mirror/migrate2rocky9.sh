#!/bin/sh
# Part of the stage set, not the real migrate2rocky9.sh: turns the pretended AlmaLinux 9 into a pretended Rocky Linux 9.
. /usr/lib/testbed/lib.sh
system

if [ "${1-}" != -r ]; then
    echo 'Usage: migrate2rocky9.sh [OPTIONS]'
    exit 1
fi
say() { echo "$@" | tee -a /var/log/migrate2rocky.log; }
say 'migrate2rocky - Begin logging'
if [ "$ID $MAJOR" != 'almalinux 9' ]; then
    say 'Error: this system is not AlmaLinux 9'
    exit 1
fi
if fault convert-fails; then
    say 'Error running distro-sync.'
    exit 1
fi
work 0.5
db=/var/lib/rpm/Packages
sed -e 's/AlmaLinux/Rocky Enterprise Software Foundation/' -e 's/^almalinux-release/rocky-release/' \
    -e 's/\.alma\.1/.rocky.1/' "$db" > "$db.new"
mv "$db.new" "$db"
/usr/lib/testbed/become rocky9
say 'Done, please reboot your system.'
