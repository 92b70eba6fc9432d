#!/usr/bin/env bash
# TIMEOUT 1500
# Two translation units share a loop and their coroutines; also one in C and the other in C++.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
build_and_run() {       # name, options; compilers in A and B
    local name=$tmp/$1.$BASHPID
    # shellcheck disable=SC2086
    $A $WARN -Wno-missing-field-initializers -iquote . -pthread -c -o "$name.a.o" tests/two_tu/a.c &&
        $B $WARN $2 -iquote . -pthread -c -o "$name.b.o" tests/two_tu/b.c &&
        $GXX -rdynamic -pthread -o "$name" "$name.a.o" "$name.b.o" || return 1
    timeout 20 "$name" >"$name.log"
    local rc=$?
    cat "$name.log"
    [ $rc = 0 ] && [ "$(grep -c '^ok' "$name.log")" = 9 ] || return 1
    ! nm -D "$name" | grep -E ' [A-TV-Z] (aio_|aio__|lio_)'
}
C="$GCC -xc -O2" CXX="$GXX -xc++ -std=c++17 -O2"
try() {
    A=$2 B=$3
    for c in "${A%% *}" "${B%% *}"; do have "$c" || { skip "$1" "no $c here"; return; }; done
    ok "$1" build_and_run pair "$4"
}
try "C and C" "$C" "$C"
try "C and C++" "$C" "$CXX"
try "C++ and C" "$CXX" "$C"
try "C++ and C++" "$CXX" "$CXX"
try "gcc and clang" "$C" "$CLANG -xc -O1"
try "clang++ and gcc" "$CLANGXX -xc++ -std=c++20 -O0" "$C"
try "strict ISO C and GNU C" "$GCC -xc -std=c11 -DAIO_STRICT" "$C"
try "-O0 -fPIC and link-time optimization" "$GCC -xc -O0 -fPIC" "$GCC -xc -O2 -flto"
# The control: a wrong answer from the other unit is noticed.
A=$C B=$C
control() { fails build_and_run control -DRIGGED=1 >"$tmp/control.log" && grep -q '^not ok 2' "$tmp/control.log"; }
ok "control: a wrong answer is noticed" control
finish
