#!/bin/sh
# instructions.sh - instructions per operation, counted by callgrind: the same on every machine with the
# same compiler. Two runs, of n and 2n operations; the difference over n.
# SPDX-License-Identifier: MIT
set -eu
BUILD=${BUILD:-build}
if ! command -v valgrind > /dev/null; then
    echo "instructions.sh: valgrind is not installed" >&2
    exit 0
fi

# program, its case filter, variant filter, operations
count() {
    env BENCH_OPS="$4" BENCH_ONLY="$3" BENCH_NO_RT=1 valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        "$BUILD/bench/$1" "$2" 2>&1 > /dev/null | sed -n 's/.*Collected *: *//p'
}
line() {    # question, variant label, program, case, variant, operations
    low=$(count "$3" "$4" "$5" "$6")
    high=$(count "$3" "$4" "$5" $(($6 * 2)))
    [ -n "$low" ] && [ -n "$high" ] || return 0
    awk -v q="$1" -v v="$2" -v d=$((high - low)) -v n="$6" \
        'BEGIN { printf "%s\t%s\tinstr\t%.2f\n", q, v, d / n }'
}
line "instructions, one switch of 64 tasks" "sm-ring" switch "64 tasks" "=sm-ring" 64000
line "instructions, one switch of 64 tasks" "aio" switch "64 tasks" "=aio" 64000
line "instructions, one spawn, run, finish" "free list" spawn "one at a time" "=free list" 50000
line "instructions, one spawn, run, finish" "aio" spawn "one at a time" "=aio" 50000
line "instructions, one nested call" "embedded by hand" nested "nested call" "=embedded by hand" 50000
line "instructions, one nested call" "aio" nested "nested call" "=aio" 50000
line "instructions, one awaited NOP of 32 (user side)" "raw liburing" nop "32 at a time" "=raw liburing" 32000
line "instructions, one awaited NOP of 32 (user side)" "aio" nop "32 at a time" "=aio" 32000
line "instructions, one awaited NOP of 1 (user side)" "raw liburing" nop " 1 at a time" "=raw liburing" 5000
line "instructions, one awaited NOP of 1 (user side)" "aio" nop " 1 at a time" "=aio" 5000
