#!/bin/sh
# instructions.sh - instructions per operation, counted by callgrind: the same on every machine with the
# same compiler. Two runs, of n and 2n operations; the difference over n.
# SPDX-License-Identifier: MIT
#
#     bench/instructions.sh [program …]     programs: switch spawn nested nop together; without: all.
#                                           They are built already (bench/run.sh instructions does it).
set -eu
names=$*
BUILD=${BUILD:-build}
if ! command -v valgrind > /dev/null; then
    echo "instructions.sh: valgrind is not installed" >&2
    exit 0
fi

# program, its case filter, variant filter, operations
count() {
    text=$(env BENCH_OPS="$4" BENCH_ONLY="$3" BENCH_NO_RT=1 valgrind --tool=callgrind \
        --callgrind-out-file=/dev/null "$BUILD/bench/$1" "$2" 2>&1 > /dev/null) ||
        { echo "instructions.sh: $1 \"$2\" failed" >&2; return 0; }
    printf '%s\n' "$text" | sed -n 's/.*Collected *: *//p'
}
line() {    # question, variant label, program, case, variant, operations
    case " ${names:-$3} " in *" $3 "*) ;; *) return 0 ;; esac
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
together() { line "instructions, $1" "aio" together "$1" "=aio" 20000; }
together "one turn of one task"
together "spawn and join"
together "lock, hand-over between two tasks"
together "queue of one item, put and get"
together "event, set with one waiter"
together "group of one task"
together "gather of one task"
together "timeout scope, enter and exit"
together "wait_for around what is done"
