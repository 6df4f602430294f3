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

# network_link NAME up|down|RATE: its cable as new, out, or slow in both directions.
network_link() {
    local space=$NAME.$1 said
    case ${2-} in
        up)
            # A link that was not slow has nothing to be taken away.
            ip netns exec "$NAME" tc qdisc del dev "$1" root 2> /dev/null || true
            ip netns exec "$space" tc qdisc del dev eth0 root 2> /dev/null || true
            ip -n "$NAME" link set "$1" up
            ;;
        down) ip -n "$NAME" link set "$1" down ;;
        [0-9]*bit)
            said=$(ip netns exec "$NAME" tc qdisc replace dev "$1" root tbf rate "$2" burst 32kb latency 400ms 2>&1 &&
                ip netns exec "$space" tc qdisc replace dev eth0 root tbf rate "$2" burst 32kb latency 400ms 2>&1) ||
                fail "the link of $1 cannot be slow" "$said" "is it a rate, as 8mbit? has this machine's kernel sch_tbf?"
            ;;
        *) fail "'${2-}' is nothing that a link can be" "" "up, down, or a rate: 8mbit" ;;
    esac
}

network_exec() {
    network_needed
    ip netns exec "$NAME" "$@"
}

network_needed() {
    [ -e "/run/netns/$NAME" ] || fail "no testbed is up in $DIR" "" "testbed up"
}
