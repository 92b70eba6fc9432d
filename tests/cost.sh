#!/bin/sh
# cost.sh - calls that take part in n things cost the same each, whatever n: the instructions of
# tests/cost/cost.c at 4n are less than six times those at n (n log n: 4.8; n squared: 16).
# SPDX-License-Identifier: MIT
set -eu
cd "$(dirname "$0")/.."
if ! command -v valgrind > /dev/null || [ ! -f /usr/include/valgrind/callgrind.h ]; then
    echo "1..0 # SKIP valgrind is not installed"
    exit 0
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
${CC:-cc} -O1 -g -iquote . tests/cost/cost.c -o "$dir/cost" -pthread
if ! valgrind -q --tool=callgrind --combine-dumps=yes --callgrind-out-file="$dir/out" "$dir/cost" \
    > "$dir/log" 2>&1; then
    cat "$dir/log"
    echo "not ok 1 - cost.c runs"
    exit 1
fi
awk '
    /^desc: Trigger: Client Request: / { name = substr($0, index($0, "Request: ") + 9) }
    /^totals: / && name != "" {
        if (!(name in low)) { low[name] = $2; names[++count] = name }
        else high[name] = $2
        name = ""
    }
    END {
        for (i = 1; i <= count; i++) {
            ratio = high[names[i]] / low[names[i]]
            quadratic = ratio >= 6
            good = quadratic == (names[i] ~ /the control$/)
            if (!good) bad = 1
            printf "%sok %d - %s: times %.2f\n", good ? "" : "not ", i, names[i], ratio
        }
        printf "1..%d\n", count
        exit bad || count < 2
    }' "$dir/out"
