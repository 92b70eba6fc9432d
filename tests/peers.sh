#!/usr/bin/env bash
# TIMEOUT 1500
# The ring's operations against what others have written: CPython's asyncio, nc, socat, curl, at either end.
# Messages of any size go there and back; each direction ends for itself; peers that behave badly.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
pids=()
end_all() {
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null
    wait "${pids[@]}" 2>/dev/null
    pids=()
}
trap 'end_all; rm -rf "$tmp"' EXIT
wait_for() {            # a file
    for _ in $(seq 500); do
        [ -e "$1" ] && return
        sleep 0.02
    done
    echo "there is no $1"
    return 1
}
make -s "$BUILD/tests/peers/peer" BUILD="$BUILD" CC="${CC:-$GCC}" || exit 1
peer=$BUILD/tests/peers/peer
"$peer" serve "$tmp" >"$tmp/served" & pids+=($!)
server=$!
wait_for "$tmp/ready" || { echo "not ok 1 - the server starts"; echo 1..1; exit 1; }
port() { cat "$tmp/$1"; }
head -c 700000 /dev/urandom >"$tmp/data"
: >"$tmp/empty"
py() { python3 tests/peers/peer.py "$@"; }
fds() { ls "/proc/$server/fd" | wc -l; }
before=$(fds)

# --- asyncio
if have python3; then
    ok "asyncio's streams, 20 connections, messages of any size" py echo "$(port echo)"
    ok "asyncio's streams over a Unix socket" py echo "$tmp/unix"
    ok "asyncio's streams: a message, an answer" py ping "$(port echo)"
    ok "asyncio ends its direction first: all has arrived" py sum "$(port sum)"
    ended_first() { py source "$(port source)" && sleep 0.1 && grep -q '^after its end: 200000 OK' "$tmp/served"; }
    ok "we end our direction first: all has arrived" ended_first
    ok "asyncio breaks off, resets, says nothing: the server goes on" py rude "$(port echo)"
    python3 tests/peers/peer.py serve "$tmp" 2>/dev/null & pids+=($!)
    from_us() { wait_for "$tmp/py-tcp" && "$peer" client 127.0.0.1 "$(port py-tcp)" 20 &&
        "$peer" client "" "$tmp/py-unix" 20; }
    ok "asyncio's server, 20 connections from us over TCP and as many over a Unix socket" from_us
else
    skip "asyncio" "no python3 here"
fi

# --- nc
if have nc && nc -h 2>&1 | grep -q OpenBSD; then
    nc_echo() { nc -N "$@" <"$tmp/data" >"$tmp/nc.out" && cmp "$tmp/data" "$tmp/nc.out"; }
    ok "nc sends 700 kB, ends, gets them back" nc_echo 127.0.0.1 "$(port echo)"
    ok "nc over a Unix socket" nc_echo -U "$tmp/unix"
    nothing() { [ "$(nc -N 127.0.0.1 "$(port sum)" <"$tmp/empty")" = "0 14695981039346656037" ]; }
    ok "nc ends at once" nothing
    nc_serves() {
        nc -l -U "$tmp/nc-unix" <"$tmp/empty" >"$tmp/nc.in" & pids+=($!)
        wait_for "$tmp/nc-unix" && "$peer" push "" "$tmp/nc-unix" 300000 && wait $! &&
            [ "$(wc -c <"$tmp/nc.in")" = 300000 ]
    }
    ok "nc is the server, and has all 300 kB" nc_serves
else
    skip "nc" "no OpenBSD nc here"
fi

# --- socat
if have socat; then
    socat_echo() { socat -t 20 - "$1" <"$tmp/data" >"$tmp/socat.out" && cmp "$tmp/data" "$tmp/socat.out"; }
    ok "socat over TCP" socat_echo "TCP:127.0.0.1:$(port echo)"
    ok "socat over a Unix socket" socat_echo "UNIX-CONNECT:$tmp/unix"
    socat "UNIX-LISTEN:$tmp/socat-unix,fork" EXEC:cat & pids+=($!)
    to_socat() { wait_for "$tmp/socat-unix" && "$peer" client "" "$tmp/socat-unix" 5; }
    ok "socat and cat as the server of our client" to_socat
else
    skip "socat" "no socat here"
fi

# --- curl
if have curl; then
    url=http://127.0.0.1:$(port http)/
    get() { curl -sS -m 60 -H Expect: "$@"; }
    post() { get --data-binary "@$tmp/data" "$url" >"$tmp/curl.out" && cmp "$tmp/data" "$tmp/curl.out"; }
    ok "curl posts 700 kB and gets them back" post
    kept() { [ "$(get -w '%{num_connects} ' "$url" "$url" "$url" -o "$tmp/1" -o "$tmp/2" -o "$tmp/3")" = "1 0 0 " ]; }
    ok "curl keeps its connection" kept
    parallel() {
        local args=()
        for i in $(seq 30); do args+=(-o "$tmp/p.$i" "$url"); done
        get -Z --parallel-immediate --data-binary "@$tmp/data" "${args[@]}" &&
            for i in $(seq 30); do cmp "$tmp/data" "$tmp/p.$i" || return 1; done
    }
    ok "curl, 30 at a time" parallel
else
    skip "curl" "no curl here"
fi

nothing_left() {
    for _ in $(seq 100); do
        [ "$(fds)" = "$before" ] && return
        sleep 0.05
    done
    echo "the server had $before descriptors and has $(fds)"
    return 1
}
ok "the server has as many descriptors as before" nothing_left
control() { "$peer" push 127.0.0.1 "$(port sum)" 5 | grep -q '^6 '; }
ok "control: a byte that is missing is noticed" fails control
end_all
finish
