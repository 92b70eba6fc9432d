#!/usr/bin/env bash
# The examples where io_uring is refused, as in a default container: they run on epoll and pass their own checks.
# TIMEOUT 1500
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0
ok() { n=$((n + 1)); echo "ok $n - $1"; }
not_ok() { n=$((n + 1)); echo "not ok $n - $1"; }
cc -O1 -o "$work/refuse" tests/refuse.c || { echo "not ok 1 - the launcher compiles"; echo "1..1"; exit 1; }
# What does not pass there, and why. (One that begins to pass fails here, so that the list stays true.)
known() {
    case $1 in 33_redis) echo "hiredis closes its socket while a poll waits on it, and epoll forgets what was to come" ;; esac
}
for check in examples/*.check; do
    name=$(basename "$check" .check)
    why=$(known "$name")
    program=$BUILD/examples/$name
    if [ ! -x "$program" ]; then
        n=$((n + 1))
        echo "ok $n - $name # SKIP it is not built"
    elif [ -n "$why" ]; then
        if timeout 100 "$work/refuse" EPERM all "$check" "$program" >/dev/null 2>&1 </dev/null; then not_ok "$name passes now"
        else ok "$name does not: $why"; fi
    elif out=$("$work/refuse" EPERM all "$check" "$program" 2>&1 </dev/null); then ok "$name"
    else
        echo "$out" | tail -n 20 | sed 's/^/# /'
        not_ok "$name"
    fi
done
# The control: the launcher does refuse.
program=$BUILD/examples/05_echo
if AIO_RING=io_uring timeout 20 "$work/refuse" EPERM all "$program" >/dev/null 2>&1; then not_ok "io_uring is refused there"
else ok "io_uring is refused there"; fi
echo "1..$n"
