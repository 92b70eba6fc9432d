#!/usr/bin/env bash
# TIMEOUT 300
# A program and a shared library, each with a copy of the headers of its own, in one process.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
build_and_run() {       # name, options of the library; compilers
    local name=$tmp/$1.$BASHPID
    # shellcheck disable=SC2086
    $A $WARN -fPIC -shared $2 -iquote . -pthread -o "$name.so" tests/two_copies/library.c &&
        $B $WARN -iquote . -pthread -o "$name" tests/two_copies/program.c "$name.so" || return 1
    timeout -k 2 "${LIMIT:-60}" "$name" >"$name.log"
    local rc=$?
    cat "$name.log"
    [ $rc = 0 ] && [ "$(grep -c '^ok' "$name.log")" = 22 ] || return 1
    ! nm -D "$name.so" | grep -E ' [A-TV-Z] (aio_|aio__|lio_)'
}
try() {
    A=$2 B=$3
    for c in "${A%% *}" "${B%% *}"; do have "$c" || { skip "$1" "no $c here"; return; }; done
    ok "$1" build_and_run pair ""
}
try "gcc and gcc" "$GCC -O2" "$GCC -O2"
try "gcc and clang" "$GCC -O1" "$CLANG -O1"
# The control: a library whose handler the program does not know takes the program's signals away.
A="$GCC -O2" B="$GCC -O2" LIMIT=5
mkdir "$tmp/unmarked" && cp aio.h "$tmp/unmarked" &&
    sed '/sigdelset(&action->sa_mask, SIGURG)/d' aio_loop.h >"$tmp/unmarked/aio_loop.h"
control() {
    fails build_and_run control "-iquote $tmp/unmarked" >"$tmp/control.log" &&
        grep -q '^ok 2' "$tmp/control.log"
}
ok "control: a handler without the mark is noticed" control
finish
