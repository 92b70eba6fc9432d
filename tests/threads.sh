#!/usr/bin/env bash
# The programs in which threads meet, once more under the thread sanitizer.   TIMEOUT 1500
# shellcheck source=compile/lib.sh
. "$(dirname "$0")/compile/lib.sh"
tsan="-std=gnu11 -O1 -g -fsanitize=thread -iquote . -iquote tests -pthread"
builds() { printf 'int main(void) { return 0; }\n' >"$tmp/empty.c" && "$1" -fsanitize=thread -o "$tmp/empty" "$tmp/empty.c" && "$tmp/empty"; }
build_and_run() {       # test, compiler
    # shellcheck disable=SC2086
    "$2" $tsan $WARN -o "$tmp/$1-$2" "tests/$1.c" -lcmocka -luring -lpthread || return 1
    TSAN_OPTIONS=halt_on_error=1 timeout 200 "$tmp/$1-$2" >"$tmp/$1-$2.log" 2>&1 || { cat "$tmp/$1-$2.log"; return 1; }
}
for c in "$GCC" "$CLANG"; do
    have "$c" && builds "$c" >/dev/null 2>&1 || { skip "$c" "no thread sanitizer here"; continue; }
    for test in t_inbox t_thread t_signal t_cores t_uring_names; do
        ok_later "$test: $c" build_and_run $test "$c"
    done
done
printf '%s\n' '#include <pthread.h>' 'static int n;' \
    'static void *f(void *a) { for (int i = 0; i < 1000; i++) n++; return a; }' \
    'int main(void) { pthread_t t; pthread_create(&t, 0, f, 0); f(0); pthread_join(t, 0); return n & 0; }' \
    >"$tmp/races.c"
control() {
    # shellcheck disable=SC2086
    "$GCC" $tsan -o "$tmp/races" "$tmp/races.c" && TSAN_OPTIONS=halt_on_error=1 fails "$tmp/races"
}
if builds "$GCC" >/dev/null 2>&1; then ok_later "control: a race is noticed" control; else skip "control" "no thread sanitizer here"; fi
finish
