# lib.sh - what the .check scripts and demo.sh share. POSIX sh; source it.
# Sets $program (from $1), $dir (a fresh folder, removed at the end) and $name.
program=$1
name=$(basename "$program")
dir=$(mktemp -d) || exit 1
pids=""
finish() {
    status=$?
    trap - EXIT
    for p in $pids; do kill "$p" 2>/dev/null && wait "$p" 2>/dev/null; done
    rm -rf "$dir"
    exit $status
}
trap finish EXIT
trap 'exit 129' HUP INT TERM

fail() {
    echo "$name: $*"
    exit 1
}
# io_uring refused here (its sentence is in the file): not our program's failure.
skip_if_refused() {
    if grep -q 'io_uring' "$1"; then
        grep 'io_uring' "$1"
        exit 77
    fi
}
is_alive() { kill -0 "$1" 2>/dev/null; }
wait_until() {          # seconds, command…: false if it is still false then
    ticks=$(($1 * 20))
    shift
    until "$@" >/dev/null 2>&1; do
        ticks=$((ticks - 1))
        [ $ticks -gt 0 ] || return 1
        sleep 0.05
    done
}
# A command that Ctrl-C ends: a shell's background jobs ignore SIGINT.
interruptible() {
    exec python3 -c 'import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])' "$@"
}

# Ctrl-C: it ends by itself, with status 0 (or the one that is given).
stop_server() {
    kill -INT "$server"
    wait_until 30 has_ended "$server" || fail "the server does not end after Ctrl-C"
    wait "$server"
    rc=$?
    [ $rc = "${1:-0}" ] || fail "after Ctrl-C it ended with $rc: $(cat "$dir/server")"
}
has_ended() { ! is_alive "$1" || grep -q '^State:.Z' "/proc/$1/status"; }
descriptors() { ls "/proc/$server/fd" | wc -l; }
settles_at() { [ "$(descriptors)" = "$1" ]; }      # number: as many as before the connections

# Starts "$program PORT arguments…" on a free port: sets $port and $server. Its messages are in $dir/server.
tries=0
start_server() {
    while [ $tries -lt 50 ]; do
        tries=$((tries + 1))
        port=$((20000 + ($$ * 7 + tries * 131) % 12000))
        interruptible "$program" "$port" "$@" >"$dir/server" 2>&1 </dev/null &
        server=$!
        if wait_until 20 listens_or_ended && listens; then
            pids="$pids $server"
            return 0
        fi
        is_alive "$server" && fail "the server does not listen on port $port"
        skip_if_refused "$dir/server"
        grep -q 'in use' "$dir/server" || fail "the server ended: $(cat "$dir/server")"
    done
    fail "no free port found"
}
listens() {             # the server itself, not somebody else on its port
    for inode in $(awk -v port=":$(printf %04X "$port")\$" '$2 ~ port && $4 == "0A" { print $10 }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null); do
        readlink "/proc/$server"/fd/* | grep -qxF "socket:[$inode]" && return 0
    done
    return 1
}
listens_or_ended() { listens || has_ended "$server"; }
