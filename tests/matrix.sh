#!/usr/bin/env bash
# TIMEOUT 1500
# Each header alone, and all together, compile without a warning as C11, C17, C++17 and C++20, by gcc
# and clang, from -O0 to -O3.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
compiles() {    # file, compiler and options: at $levels
    local file=$1 o
    shift
    for o in $levels; do
        "$@" $o -iquote . -iquote tests/compile -pthread -c -o /dev/null "$file" || return 1
    done
    # Not -Wpedantic for liburing's own headers.
    [ "$levels" = -O2 ] && return
    case $file in *uring.c | *all.c) return 0 ;; esac
    "$@" -Wpedantic -O1 -iquote . -iquote tests/compile -pthread -c -o /dev/null "$file"
}
# All of them for all headers at once; in the newer standards nothing but the front end differs.
levels_for() {
    case $1:$2 in
    all:c11 | all:c++17) echo -O0 -O1 -O2 -O3 ;;
    *:c11 | *:c++17) echo -O0 -O2 ;;
    *) echo -O2 ;;
    esac
}
for file in aio loop together uring all; do
    case $file in
    uring | all)
        if [ ! -f aio_io_uring.h ]; then
            skip "$file.c" "there is no aio_io_uring.h"
            continue
        fi ;;
    esac
    for c in "$GCC" "$CLANG"; do
        have "$c" || { skip "$file.c: $c" "no $c here"; continue; }
        posix=      # with -std=c11, POSIX is there only if its users come first, or by this
        [ $file = all ] && posix=-D_GNU_SOURCE
        for std in c11 c17 gnu11; do
            levels=$(levels_for $file $std)
            # shellcheck disable=SC2086
            ok_later "$file.c: $c $std" compiles tests/compile/$file.c $c -xc -std=$std $WARN $posix -Wstrict-prototypes
        done
    done
    for c in "$GXX" "$CLANGXX"; do
        have "$c" || { skip "$file.c: $c" "no $c here"; continue; }
        for std in c++17 c++20; do
            levels=$(levels_for $file $std)
            # shellcheck disable=SC2086
            ok_later "$file.c: $c $std" compiles tests/compile/$file.c $c -xc++ -std=$std $WARN
        done
    done
done
levels="-O0 -O2"
for c in "$GCC" "$CLANG"; do
    have "$c" || continue
    # shellcheck disable=SC2086
    for file in aio loop together; do
        ok_later "$file.c: $c, strict ISO C" compiles tests/compile/$file.c $c -xc -std=c11 -DAIO_STRICT $WARN
    done
done
levels=-O2
# After any other header, as most programs have it.
for file in loop uring; do
    [ $file = uring ] && [ ! -f aio_io_uring.h ] && continue
    printf '#include <stdio.h>\n#include <string.h>\n#include <time.h>\n#include "%s.c"\n' $file >"$tmp/late_$file.c"
    for c in "$GCC -std=gnu11" "$CLANG -std=gnu11" "$GXX -xc++ -std=c++17" "$CLANGXX -xc++ -std=c++17"; do
        have "${c%% *}" || continue
        # shellcheck disable=SC2086
        ok_later "$file.c after other headers: $c" compiles "$tmp/late_$file.c" $c $WARN
    done
done
levels=-O2
printf 'int f(void);\nint f(void) { int unused; return 0; }\n' >"$tmp/warns.c"
# shellcheck disable=SC2086
ok_later "control: a warning is noticed" fails compiles "$tmp/warns.c" $GCC $WARN
finish
