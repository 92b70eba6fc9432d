#!/usr/bin/env bash
# TIMEOUT 1500
# The language tests once more: by each compiler, at other levels of optimization, as strict ISO C11
# and as C++17 and C++20. Built and run.
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
need="-iquote . -iquote tests -pthread"
build_and_run() {       # test, program's name, compiler and options
    local test=$1 program=$tmp/$2
    shift 2
    # shellcheck disable=SC2086
    "$@" $need $WARN -o "$program" "$lang" tests/$test.c -x none -lcmocka -lpthread || return 1
    timeout 60 "$program" >"$program.log" 2>&1 || { cat "$program.log"; return 1; }
}
variant() {     # label, compiler and options
    local label=$1 test
    shift
    if ! have "$1"; then
        skip "$label" "no $1 here"
        return
    fi
    for test in t_language t_lhs t_drop t_generator t_arguments; do
        ok_later "$test: $label" build_and_run $test "$test-$tap_n" "$@"
    done
}
lang=-xc
strict="-std=c11 -Wpedantic -Wstrict-prototypes -D_GNU_SOURCE -DAIO_STRICT"
# shellcheck disable=SC2086
{
    variant "gcc -O0" "$GCC" -O0
    variant "gcc -Og" "$GCC" -Og
    variant "gcc -O3, no locals check" "$GCC" -O3 -DAIO_NO_LOCALS_CHECK
    variant "gcc, tiny call stack" "$GCC" -O1 -DAIO_CALL_STACK=64
    variant "gcc, strict ISO C" "$GCC" -O2 $strict
    variant "clang" "$CLANG" -O2
    variant "clang -O0" "$CLANG" -O0
    variant "clang, strict ISO C" "$CLANG" -O2 $strict
    variant "gcc -std=c11" "$GCC" -std=c11 -D_GNU_SOURCE -O2
    lang=-xc++
    variant "g++ C++17" "$GXX" -std=c++17 -O2
    variant "g++ C++20 -O0" "$GXX" -std=c++20 -O0
    variant "clang++ C++17" "$CLANGXX" -std=c++17 -O2
    variant "clang++ C++20" "$CLANGXX" -std=c++20 -O1
}
# The control: a test that fails here is noticed.
control() {
    printf '%s\n' '#include "test.h"' 'static void no(void **s) { (void)s; assert_int_equal(1, 2); }' \
        'int main(void) { const struct CMUnitTest tests[] = { cmocka_unit_test(no) };' \
        'return cmocka_run_group_tests(tests, NULL, NULL); }' >"$tmp/control.c"
    $GCC -iquote tests -o "$tmp/control" "$tmp/control.c" -lcmocka && fails "$tmp/control"
}
ok_later "control: a failing test is noticed" control
finish
