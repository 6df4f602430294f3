#!/bin/sh
# Part of the stage set, not the real thing: the units of the pretended service manager. Sourced, never run.
# A unit is enabled when its name is a line of $KEPT/enabled, active when it is one of $LIVE/active.

# Whether a service would come up if it were started.
starts() {
    case $1 in
        nginx) ! { fault service-dead && [ -e "$KEPT/upgraded" ]; } ;;
        *) : ;;
    esac
}

has_line() {
    grep -qsxF -- "$2" "$1"
}

add_line() {
    has_line "$1" "$2" || printf '%s\n' "$2" >> "$1"
}

drop_line() {
    [ -e "$1" ] || return 0
    grep -vxF -- "$2" "$1" > "$1.new" || :
    mv "$1.new" "$1"
}

start_unit() {
    if starts "$1"; then
        drop_line "$LIVE/failed" "$1"
        add_line "$LIVE/active" "$1"
    else
        drop_line "$LIVE/active" "$1"
        add_line "$LIVE/failed" "$1"
        return 1
    fi
}

# Starts what is enabled, as a boot does.
start_enabled() {
    : > "$LIVE/active"
    : > "$LIVE/failed"
    while read -r unit; do
        if has_line "$KEPT/masked" "$unit"; then continue; fi
        if starts "$unit"; then echo "$unit" >> "$LIVE/active"; else echo "$unit" >> "$LIVE/failed"; fi
    done < "$KEPT/enabled"
}
