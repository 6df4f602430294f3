# shellcheck shell=bash
# A network of its own: one namespace with a bridge, where the controller runs and the archive listens, and one for each
# host. The machine's own interfaces, routes and rules are never touched, and from the hosts there is no way out.

network_up() {
    [ ! -e "/run/netns/$NAME" ] || return 0
    ip netns add "$NAME"
    ip -n "$NAME" link set lo up
    ip -n "$NAME" link add hosts type bridge
    ip -n "$NAME" addr add "$GATEWAY/24" dev hosts
    ip -n "$NAME" link set hosts up
}

network_down() {
    local space
    for space in /run/netns/"$NAME" /run/netns/"$NAME".*; do
        if [ -e "$space" ]; then ip netns del "${space##*/}"; fi
    done
}

# network_host NAME ADDRESS: the host's end is `eth0` in a namespace of its own.
network_host() {
    local space=$NAME.$1
    [ ! -e "/run/netns/$space" ] || return 0
    ip netns add "$space"
    ip -n "$NAME" link add "$1" type veth peer name eth0 netns "$space"
    ip -n "$NAME" link set "$1" master hosts up
    ip -n "$space" link set lo up
    ip -n "$space" addr add "$2/24" dev eth0
    ip -n "$space" link set eth0 up
}

network_exec() {
    network_needed
    ip netns exec "$NAME" "$@"
}

network_needed() {
    [ -e "/run/netns/$NAME" ] || fail "no testbed is up" "" "testbed up"
}
