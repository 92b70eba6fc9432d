#!/bin/sh
# compile_time.sh - what one include costs: aio_io_uring.h over liburing.h alone, in ms of CPU time.
# SPDX-License-Identifier: MIT
set -eu
CC=${CC:-cc}
CXX=${CXX:-c++}
rounds=${BENCH_ROUNDS:-5}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/alone.c" << 'SOURCE'
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
int main(void) { return 0; }
SOURCE
printf '#include "aio_io_uring.h"\n%s' "$(cat "$work/alone.c")" > "$work/with.c"
# ms of CPU time of one compilation
ms() {
    /usr/bin/env bash -c 'TIMEFORMAT="%U %S"; time "$@" > /dev/null' _ "$@" 2>&1 |
        awk 'END { print ($1 + $2) * 1000 }'
}
for _ in $(seq "$rounds"); do
    for language in "$CC -x c -std=gnu11" "$CXX -x c++ -std=c++17"; do
        for level in -O0 -O2; do
            for file in alone with; do
                # shellcheck disable=SC2086
                printf 'compile time, %s %s\t%s.c\tms\t%s\n' "${language%% *}" "$level" "$file" \
                    "$(ms $language $level -D_GNU_SOURCE -iquote . -c -o "$work/o" "$work/$file.c")"
            done
        done
    done
done | sed 's/alone\.c/liburing.h/; s/with\.c/aio_io_uring.h/'
