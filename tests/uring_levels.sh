#!/usr/bin/env bash
# Runs the tests of the ring on each lower rung of set-up flags, and with a ring of 8 entries.
# TIMEOUT 1500
cd "$(dirname "$0")/.." || exit 1
dir=${BUILD:-build}/tests
n=0
for level in 1 2 3 4; do
    for entries in 8 256; do
        [ $level = 1 ] && [ $entries = 256 ] && continue        # the ordinary run
        for program in "$dir"/t_uring_*; do
            [ -f "$program" ] && [ -x "$program" ] || continue
            n=$((n + 1))
            name="$(basename "$program"), level $level, $entries entries"
            if out=$(AIO_URING_LEVEL=$level AIO_URING_ENTRIES=$entries timeout 100 "$program" 2>&1 </dev/null) &&
                ! grep -v '# SKIP' <<<"$out" | grep -q '^not ok'; then
                echo "ok $n - $name"
            else
                sed 's/^/# /' <<<"$out"
                echo "not ok $n - $name"
            fi
        done
    done
done
[ $n = 0 ] && { echo "1..0 # SKIP no test of the ring is built"; exit 0; }
echo "1..$n"
